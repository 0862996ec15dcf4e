from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from curate.core.config import BadValue, Model, load, model_files, model_of, parse, validate
from curate.core.errors import ConfigError
from curate.core.files import ModelFile


def test_a_value_knows_its_line() -> None:
    document = parse("name: x\nsteps:\n  docs:\n    read: {path: a}\n", "p.yaml")
    assert document.where(("steps", "docs", "read")) == "p.yaml:4"
    assert document.where(("steps", "docs", "read", "nothing", 3)) == "p.yaml:4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "c.yaml:2:1: a is given twice"),
        ("a: [1\nb: 2\n", "is not valid YAML"),
        ("- 1\n", "holds no mapping"),
        ("a: !!python/object:os.system {}\n", "not allowed"),
        ("1: a\n", "a key must be a word"),
        ("", "holds no mapping"),
    ],
)
def test_yaml_that_is_not_plain_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        parse(text, "c.yaml")


def test_dates_and_numbers_stay_what_they_look_like() -> None:
    assert parse("a: 2026-01-02\nb: 0.1\nc: 3\nd: yes\ne: null\nf: '3'\n").data == {
        "a": "2026-01-02", "b": 0.1, "c": 3, "d": True, "e": None, "f": "3",
    }  # fmt: skip


def test_a_file_that_is_missing_a_folder_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="is a folder"):
        load(str(tmp_path))
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(str(tmp_path / "x.yaml"))


class Inner(Model):
    size: int = 3
    ratio: float = 0.5
    pick: Literal["a", "b"] = "a"
    names: list[str] = []


def test_a_misspelt_key_gets_the_nearest_name() -> None:
    with pytest.raises(BadValue, match=r"steps\.x\.ratoi: no such key; did you mean 'ratio'\?"):
        validate(Inner, {"ratoi": 1}, ("steps", "x"))


class Outer(Model):
    inner: Inner = Inner()
    many: list[Inner | int] = []
    share: int | Annotated[float, Field(le=1)] | Inner = 1


def test_a_misspelt_key_of_a_nested_model_gets_the_nearest_name_of_that_model() -> None:
    for value, path in (({"inner": {"ratoi": 1}}, "inner"), ({"many": [1, {"ratoi": 1}]}, r"many\[1\]")):
        with pytest.raises(BadValue, match=rf"^{path}\.ratoi: no such key; did you mean 'ratio'\?"):
            validate(Outer, value, ())


def test_of_alternatives_the_one_of_the_right_type_is_named() -> None:
    with pytest.raises(BadValue, match=r"^share: input should be less than or equal to 1, found 2\.0"):
        validate(Outer, {"share": 2.0}, ())
    with pytest.raises(BadValue, match=r"^share\.pick: input should be 'a' or 'b', found 'c'"):
        validate(Outer, {"share": {"pick": "c"}}, ())


def test_a_number_that_is_not_finite_is_refused_as_it_has_no_identity() -> None:
    for number in (".inf", "-.inf", ".nan"):
        value = parse(f"ratio: {number}").data
        with pytest.raises(BadValue, match="ratio: input should be a finite number"):
            validate(Inner, value, ())


def test_a_wrong_type_is_refused_and_not_coerced() -> None:
    with pytest.raises(BadValue, match=r"size: .*integer, found '3'"):
        validate(Inner, {"size": "3"}, ())
    with pytest.raises(BadValue, match=r"names\[1\].*string"):
        validate(Inner, {"names": ["a", 2]}, ())
    with pytest.raises(BadValue, match="'a' or 'b'"):
        validate(Inner, {"pick": "c"}, ())
    assert validate(Inner, {"ratio": 1}, ()).ratio == 1.0
    assert validate(Inner, None, ()).size == 3


def make(*, model: ModelFile, label: str | None = None, other: ModelFile | None = None) -> object:
    return None


def test_the_signature_of_a_factory_is_its_schema() -> None:
    args = validate(model_of(make), {"model": "m.bin"}, ())
    assert model_files(args) == {"model": "m.bin"}
    assert model_files(validate(model_of(make), {"model": "m", "other": "o"}, ())) == {
        "model": "m",
        "other": "o",
    }
    with pytest.raises(BadValue, match="'model' is missing"):
        validate(model_of(make), {}, ("steps", "s", "make"))
