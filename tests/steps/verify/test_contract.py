"""What every verifier that needs no model promises, whatever it looks at."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from curate.core.config import model_of
from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.steps.verify.code import code
from curate.steps.verify.consistency import consistency
from curate.steps.verify.form import form, length, schema
from curate.steps.verify.grounded import grounded
from curate.steps.verify.near import near
from curate.steps.verify.numeric import numeric
from curate.steps.verify.overlap import ngram_overlap, rouge_l
from curate.steps.verify.pii import pii
from curate.steps.verify.refusal import copied_prompt, refusal
from tests.helpers import dataset

TEXTS = [
    "The garden was quiet.\nNobody knew that it would be back with the wind.\n\n- a point\n- another …",
    "",
    "Der Regen hatte aufgehört, und niemand wusste davon: 42.",
    None,
    "日本語のテキストです。ภาษาไทย",
    "{ \x00 } \u200b\ufeff # # #",
    "word",
    "\n\n \n",
    "a " * 5000,
    '{"n": 1}',
    "I'm sorry, but I can't help with that.",
    "#### 1,234.5",
]
PARENTS = {"p": "The garden was quiet, and nobody knew.", "q": "", "r": "日本語"}
ROWS = [
    {"id": f"{i:02}", "text": text, "parents": [["p"], ["p", "q"], ["r"], [], ["unknown"]][i % 5]}
    for i, text in enumerate(TEXTS)
]
TABLE: dict[str, tuple[Callable[..., Verifier], dict[str, object]]] = {
    "code": (code, {"column": "text", "tests": "text", "sandbox": "hook"}),
    "consistency": (consistency, {"column": "text"}),
    "copied_prompt": (copied_prompt, {"prompt": "text"}),
    "form": (form, {}),
    "grounded": (grounded, {"quote": "text"}),
    "length": (length, {}),
    "near": (near, {}),
    "ngram_overlap": (ngram_overlap, {}),
    "numeric": (numeric, {"column": "text", "reference": "text"}),
    "pii": (pii, {}),
    "refusal": (refusal, {}),
    "rouge_l": (rouge_l, {}),
    "schema": (schema, {"column": "text", "fits": {"type": "object"}}),
}
BY_BATCH = {"consistency"}  # looks at the rows of a batch together
Factory = Callable[[], Verifier]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(dataset(tmp_path_factory.mktemp("verify") / "seeds", {"text": TEXTS[:4]}).folder)


def arguments(name: str, folder: Path) -> Mapping[str, object]:
    return {**TABLE[name][1], **({"to": str(folder)} if name == "near" else {})}


@pytest.fixture(params=sorted(TABLE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def factory(name: str, folder: Path) -> Factory:
    return partial(TABLE[name][0], **arguments(name, folder))


def batch(rows: pa.RecordBatch) -> VerifyBatch:
    return VerifyBatch(rows, PARENTS)


@pytest.fixture(scope="module")
def rows() -> pa.RecordBatch:
    return VerifyBatch.of(ROWS).rows


def plain(columns: Columns) -> dict[str, list[object]]:
    return {name: values.to_pylist() for name, values in columns.items()}


def test_one_value_a_row_and_never_nan(factory: Factory, rows: pa.RecordBatch) -> None:
    for name, values in plain(factory()(batch(rows))).items():
        assert len(values) == len(ROWS), name
        assert not any(isinstance(v, float) and not math.isfinite(v) for v in values), name


def test_an_empty_batch_has_the_same_columns_and_types(factory: Factory, rows: pa.RecordBatch) -> None:
    verifier = factory()
    full, empty = verifier(batch(rows)), verifier(batch(rows.slice(0, 0)))
    assert {n: v.type for n, v in full.items()} == {n: v.type for n, v in empty.items()}
    assert all(len(v) == 0 for v in empty.values())


def test_a_null_text_is_not_judged(factory: Factory, rows: pa.RecordBatch) -> None:
    found = plain(factory()(batch(rows)))
    assert {values[TEXTS.index(None)] for values in found.values()} == {None}


def test_a_column_of_nulls_alone_is_not_judged(factory: Factory) -> None:
    nulls = VerifyBatch.of([{"id": "a", "text": None, "parents": ["p"]}], PARENTS)
    assert {value for values in plain(factory()(nulls)).values() for value in values} == {None}


def test_any_batching_gives_the_same_values(name: str, factory: Factory, rows: pa.RecordBatch) -> None:
    if name in BY_BATCH:
        return
    verifier = factory()
    whole = plain(verifier(batch(rows)))
    for size in (1, 5):
        parts = [plain(verifier(batch(rows.slice(i, size)))) for i in range(0, len(ROWS), size)]
        assert whole == {name: [v for part in parts for v in part[name]] for name in whole}


def test_texts_of_both_widths_and_several_runs_give_the_same_values(factory: Factory, rows: pa.RecordBatch) -> None:
    wide = rows.set_column(1, "text", rows.column("text").cast(pa.large_string()))
    verifier = factory()
    assert plain(verifier(batch(wide))) == plain(verifier(batch(rows))) == plain(verifier(batch(rows)))


def test_a_factory_travels_to_workers(factory: Factory, rows: pa.RecordBatch) -> None:
    again = pickle.loads(pickle.dumps(factory))
    assert plain(again()(batch(rows))) == plain(factory()(batch(rows)))


def test_the_arguments_are_a_configuration(name: str, folder: Path) -> None:
    given = arguments(name, folder)
    model = model_of(TABLE[name][0]).model_validate(given)
    assert {key: getattr(model, key) for key in given} == given


def test_a_column_that_is_not_there_is_an_error_that_names_it(name: str, folder: Path) -> None:
    key = "quote" if name == "grounded" else "column"
    verifier = TABLE[name][0](**{**arguments(name, folder), key: "tetx"})
    with pytest.raises(ConfigError, match="no column 'tetx'"):
        verifier(VerifyBatch.of([{"id": "a", "text": "b", "parents": ["p"]}], PARENTS))
