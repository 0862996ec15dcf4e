from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import ConfigError
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.near import Index, near
from tests.helpers import dataset

SEED = "Name the three primary colours, and say in a few words why painters call them so when they mix others."


def sets(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)} if len(words) > 2 else {tuple(words)} - {()}


texts = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)


@given(st.lists(texts, max_size=15), st.lists(texts, max_size=15), st.sampled_from([0.2, 0.5, 0.7, 0.8, 1.0]))
@settings(max_examples=200)
def test_the_nearest_is_found_as_if_all_had_been_compared(known: list[str], asked: list[str], least: float) -> None:
    index = Index.of([([str(i)], [text]) for i, text in enumerate(known)], jaccard=least)

    def best(text: str) -> int:
        own = sets(text)
        values = [len(own & sets(each)) / len(own | sets(each)) if own else 0.0 for each in known]
        return values.index(max(values)) if values and max(values) >= least else -1

    found = index.nearest(asked).tolist()
    for text, at in zip(asked, found, strict=True):
        wanted = best(text)
        # Of equally near texts the first; of those with the same words, the first of them.
        assert at == wanted, (text, known)


@given(st.lists(texts, max_size=15), st.lists(texts, max_size=15))
def test_a_text_is_contaminated_if_it_shares_a_run_or_is_a_short_one_again(known: list[str], asked: list[str]) -> None:
    index = Index.of([(["x"] * len(known), known)], ngram=4)
    for text, hit in zip(asked, index.contaminated(asked).tolist(), strict=True):
        words = text.split()
        pieces = [" ".join(words[i : i + 4]) for i in range(len(words) - 3)]
        long = any(f" {piece} " in f" {each} " for piece in pieces for each in known)
        assert hit == (long or (0 < len(words) < 4 and text in known))


def test_rows_are_compared_with_another_dataset(tmp_path: Path) -> None:
    seeds = dataset(tmp_path / "seeds", {"text": [SEED, "Yes"]}, {"text": ["Another thing altogether.", None]})
    ids = [f"{row:032x}" for row in range(4)]
    rows = [
        SEED.upper(),
        SEED.replace("Name", "List"),
        "It begins otherwise: " + SEED + " And it goes on for as long again, " + "with words of its own, " * 9,
        "Something else is said here, of no length.",
        "yes!",
        "Yes and no",
        "",
        None,
    ]
    found = near(to=seeds.folder)(VerifyBatch.of([{"text": row} for row in rows]))
    assert found["contaminated"].to_pylist() == [True, True, True, False, True, False, False, None]
    assert found["near"].to_pylist() == [True, True, False, False, True, False, False, None]
    assert found["id"].to_pylist() == [ids[0], ids[0], None, None, ids[1], None, None, None]


def test_questions_of_conversations_can_be_the_reference(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": SEED}, {"role": "assistant", "content": "Red, yellow and blue."}]
    held_out = dataset(tmp_path / "held-out", {"messages": [chat]})
    rows = VerifyBatch.of([{"question": SEED}])
    assert near(column="question", to=held_out.folder, field="question")(rows)["near"].to_pylist() == [True]
    assert near(column="question", to=held_out.folder, field="answer")(rows)["near"].to_pylist() == [False]
    with pytest.raises(ConfigError, match="no column 'title'"):
        near(to=held_out.folder, field="title")


def test_real_questions_with_a_word_changed_are_near_to_themselves_alone(shared: Path) -> None:
    with zstandard.open(shared / "data/target_mmlu_dev_cot.dev.jsonl.zst", "rt", encoding="utf-8") as lines:
        rows = [orjson.loads(line) for line in lines]
    field = max(rows[0], key=lambda name: len(str(rows[0][name])))
    known = list(dict.fromkeys(str(row[field]) for row in rows))
    index = Index.of([([str(i) for i in range(len(known))], known)])
    changed = [f"{text} Indeed." for text in known]
    found = index.nearest(changed).tolist()
    long = [i for i, text in enumerate(known) if len(text.split()) >= 15]
    assert len(long) > 50
    assert [found[i] for i in long] == long
    assert index.contaminated([changed[i] for i in long]).all()


def test_numbers_out_of_range_and_what_is_no_dataset_are_refused(tmp_path: Path) -> None:
    for wrong in ({"jaccard": 0.0}, {"jaccard": 1.5}, {"ngram": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            near(to=str(tmp_path), **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not a finished dataset"):
        near(to=str(tmp_path))
