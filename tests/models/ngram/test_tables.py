"""Reading ARPA files as KenLM does, refusing what is malformed, and the file that workers map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.errors import ModelError
from curate.models.ngram.load import build_tables, load
from curate.models.ngram.tables import save
from curate.models.ngram.text_form import TextForm, card_path
from tests.models.ngram.models import library, same_as_library, scores

GOOD = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-1\t<unk>\t-0.5
-99\t<s>\t-0.3
-1.25\t</s>
-0.75\ta\t-0.125
-0.875\tb\t-0.25

\\2-grams:
-0.5\t<s> a\t-0.0625
-0.5\ta b\t-0.5
-0.25\tb </s>
-0.25\ta a

\\3-grams:
-0.125\ta b </s>

\\end\\
"""
SENTENCES = ["a b", "a a a b", "b a", "x a b", "b b x x a"]


def write(folder: Path, text: str) -> str:
    path = folder / "m.arpa"
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "# a comment\n\n" + GOOD,
        GOOD.replace("\n\\", "\n\n\n\\"),
        GOOD + "\n \n",
        GOOD.replace("-0.125\ta b", "-1.25e-1\ta b"),
        GOOD.replace("<unk>", "<UNK>"),
        GOOD.replace("-1\t<unk>\t-0.5\n", "").replace("ngram 1=5", "ngram 1=4"),
        GOOD.replace("-0.125\ta b </s>", "-0.125\ta b </s>\t0"),
        GOOD.replace("a b", "a\tb"),
    ],
    ids=["plain", "crlf", "comment", "blank lines", "end", "exponent", "UNK", "no unk", "zero back-off", "tabs"],
)
def test_what_kenlm_reads_is_read_alike(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    same_as_library(load(path), library(path), SENTENCES)


def test_fields_may_be_apart_by_spaces_and_blank_lines_stand_anywhere(tmp_path: Path) -> None:
    plain = scores(load(write(tmp_path, GOOD)), SENTENCES)
    loose = GOOD.replace("\t", "  ").replace("\n-0.5", " \n\n-0.5")
    assert scores(load(write(tmp_path, loose)), SENTENCES).tolist() == plain.tolist()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-0.5\ta b\t-0.5", "minus\ta b\t-0.5", r"arpa:15: in the 2-grams, a field that must be a finite number"),
        ("-0.5\ta b\t-0.5", "-0.5\ta b\tnan", r"arpa:15: in the 2-grams, a field that must be a finite number"),
        ("-0.5\ta b\t-0.5", "-inf\ta b\t-0.5", r"arpa:15: in the 2-grams, a field that must be a finite number"),
        ("-0.5\ta b\t-0.5", "-1e99\ta b\t-0.5", r"arpa:15: in the 2-grams, a field that must be a finite number"),
        ("-0.5\ta b\t-0.5", "0.5\ta b\t-0.5", r"arpa:15: in the 2-grams, a log probability above 0"),
        ("-0.5\ta b\t-0.5", "-0.5\ta", r"arpa:15: in the 2-grams, fewer words"),
        ("-0.5\ta b\t-0.5", "-0.5\ta b -0.5 -0.5", r"arpa:15: in the 2-grams, more fields"),
        ("-0.5\ta b\t-0.5", "-0.5\ta c\t-0.5", r"arpa:15: in the 2-grams, a word that is not among"),
        ("-0.5\ta b\t-0.5", "-0.5\ta a\t-0.5", r"arpa:17: in the 2-grams, an n-gram that was there before"),
        ("-0.75\ta", "-0.75\tb", r"arpa:11: in the 1-grams, a word that was there before"),
        ("-0.125\ta b </s>", "-0.125\tb b </s>", r"arpa:20: in the 3-grams, an n-gram whose first words"),
        ("-0.125\ta b </s>", "-0.125\ta b </s>\t-1", r"arpa:20: in the 3-grams, more fields"),
        ("ngram 2=4", "ngram 2=3", r"arpa:17: expected \\3-grams:, so the counts in the head are wrong"),
        ("ngram 2=4", "ngram 2=5", r"arpa:19: the counts in the head are wrong: fewer 2-grams"),
        ("ngram 2=4", "ngram 2=4000000000000", r"the ARPA file is cut short: its head"),
        ("ngram 2=4", "ngram 3=4", r"arpa:3: the orders of the head"),
        ("ngram 1=5\nngram 2=4\nngram 3=1", "", r"an ARPA file without words"),
        ("\\end\\", "", r"the ARPA file is cut short"),
        ("\\end\\\n", "\\end\\\nmore", r"arpa:23: something follows"),
        ("<s>", "<t>", r"the model has no <s>"),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelError, match=message):
        load(write(tmp_path, GOOD.replace(old, new)))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for size in range(len(GOOD) - len("\\end\\\n") + 4):
        with pytest.raises(ModelError):
            load(write(tmp_path, GOOD[:size]))


def test_saved_tables_give_the_same_scores_and_say_how_text_is_prepared(tmp_path: Path) -> None:
    arpa, path = write(tmp_path, GOOD), str(tmp_path / "m.ngram")
    Path(card_path(arpa)).write_text('{"normaliser": "ccnet", "tokeniser": "punct", "order": 3}')
    built = build_tables(arpa, path)
    mapped = load(path)
    assert mapped.form == TextForm("ccnet", "punct")
    assert (mapped.order, mapped.ngrams) == (3, (5, 4, 1))
    assert not mapped.cells.flags.writeable
    assert scores(mapped, SENTENCES).tolist() == scores(built, SENTENCES).tolist()
    again = str(tmp_path / "again.ngram")
    save(mapped, again, mapped.form)
    assert Path(again).read_bytes() == Path(path).read_bytes()


def test_tables_without_a_card_name_no_form(tmp_path: Path) -> None:
    build_tables(write(tmp_path, GOOD), str(tmp_path / "m.ngram"))
    assert load(str(tmp_path / "m.ngram")).form is None


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.ngram"
    build_tables(write(tmp_path, GOOD), str(path))
    whole = path.read_bytes()
    for size in np.linspace(16, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match="cut short|damaged"):
            load(str(path))
    path.write_bytes(whole.replace(b'"order":3', b'"order":4'))
    with pytest.raises(ModelError, match="head of the n-gram tables is damaged"):
        load(str(path))
    path.write_bytes(whole)
    for at in range(len(whole) - load(str(path)).cells.nbytes, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with pytest.raises(ModelError, match="cut short or damaged"):
            load(str(path))
    path.write_bytes(whole[:15] + b"\x01" + whole[16:])
    with pytest.raises(ModelError, match="another version"):
        load(str(path))
