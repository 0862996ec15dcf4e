"""Retrieval: the best passages of a dataset, the same for any cut into shards and any company of a query."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.core.chat.messages import MESSAGES
from curate.core.errors import ConfigError
from curate.models.encoder.encoder import load_encoder
from curate.models.retrieval.embedding_index import EmbeddingBuilder
from curate.models.retrieval.retrieve import Passage, Retriever, _passages, load_retriever
from curate.text.batch import TextBatch
from tests.helpers import dataset
from tests.steps.select.spaces import minilm

FACTS = [
    "The tide is highest when the sun and the moon pull in one line.",
    "Bread rises because yeast turns sugar into gas.",
    "A violin has four strings, tuned in fifths.",
    "Glaciers carve valleys that look like the letter U.",
]


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    with zstandard.open(shared / "data/cc_clean_misc.dev.jsonl.zst", "rb") as stream:
        lines = stream.read().splitlines()
    return [orjson.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def questions(texts: list[str]) -> list[str]:
    """Some words out of the middle of every tenth text, in an order of their own, and one that no text has."""
    return [" ".join(text.split()[20:30][::-1]) + " qqxzv" for text in texts[::10]]


def bm25(folder: Path, *parts: Sequence[str | None], words: int | None = None) -> Retriever:
    made = dataset(folder, *({"text": pa.array(each, pa.string())} for each in parts))
    return load_retriever(made.folder, by="bm25", words=words)


def reference(texts: Sequence[str], query: str, top: int) -> list[tuple[str, float]]:
    """BM25 as the books have it; the words by the same splitter, which has tests of its own."""

    def split(text: str) -> list[str]:
        lower = text.lower()
        words, data = TextBatch.of([lower]).words("uax29"), lower.encode()
        return [data[a:b].decode() for a, b in zip(words.start.tolist(), words.end.tolist(), strict=True)]

    counts = [Counter(split(text)) for text in texts]
    mean = sum(each.total() for each in counts) / len(texts)
    scores: defaultdict[str, float] = defaultdict(float)
    for word in split(query):
        having = sum(word in each for each in counts)
        idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for i, each in enumerate(counts):
            if word in each:
                relative = each.total() / mean
                scores[f"{i:032x}"] += idf * each[word] * 2.5 / (each[word] + 1.5 * (0.25 + 0.75 * relative))
    return sorted(scores.items(), key=lambda item: (-round(item[1], 6), item[0]))[:top]


def test_the_scores_are_those_of_a_plain_implementation(tmp_path: Path, texts: list[str], questions: list[str]) -> None:
    found = bm25(tmp_path / "docs", texts[:100], texts[100:]).search(questions[:12], 20)
    for query, passages in zip(questions, found, strict=False):
        wanted = reference(texts, query, 20)
        assert [each.score for each in passages] == pytest.approx([score for _, score in wanted], abs=1e-5)
        assert [each.id for each in passages] == [key for key, _ in wanted]
        assert [each.text for each in passages] == [texts[int(each.id, 16)] for each in passages]


def test_words_are_found_where_they_are(tmp_path: Path, texts: list[str], questions: list[str]) -> None:
    found = bm25(tmp_path / "docs", texts).search(questions, 1)
    assert [int(passages[0].id, 16) for passages in found] == list(range(0, len(texts), 10))


def test_a_question_finds_the_fact_that_answers_it(tmp_path: Path) -> None:
    found = bm25(tmp_path / "docs", FACTS[:2], FACTS[2:])
    asked = ["When is the tide highest?", "Why does BREAD rise?", "How many strings has a violin?"]
    assert [passages[0].text for passages in found.search(asked, 2)] == FACTS[:3]


def test_the_cut_into_shards_and_row_groups_changes_nothing(
    tmp_path: Path, texts: list[str], questions: list[str]
) -> None:
    whole = bm25(tmp_path / "whole", texts).search(questions, 5)
    cut = bm25(tmp_path / "cut", texts[:1], [], texts[1:200], texts[200:]).search(questions, 5)
    assert cut == whole
    table = pa.table({"id": [f"{i:032x}" for i in range(len(texts))], "text": texts})
    batches = pa.Table.from_batches(table.to_batches(max_chunksize=7))
    made = dataset(tmp_path / "grouped", batches, group_rows=7)
    assert pq.ParquetFile(made.path(made.shards[0])).num_row_groups > 40  # more than are kept
    grouped = load_retriever(made.folder, by="bm25")
    assert grouped.search(questions, 5) == whole


def test_the_company_of_a_query_changes_nothing(tmp_path: Path, texts: list[str], questions: list[str]) -> None:
    docs = bm25(tmp_path / "docs", texts)
    together = docs.search(questions, 5)
    assert [docs.search([query], 5)[0] for query in questions] == together
    assert docs.search(questions[::-1], 5)[::-1] == together


def test_equal_scores_are_ordered_by_id(tmp_path: Path) -> None:
    table = {"id": ["d", "a", "é", "c", "b"], "text": ["High tide."] * 4 + ["Low tide."]}
    docs = load_retriever(dataset(tmp_path / "docs", table).folder, by="bm25")
    assert [each.id for each in docs.search(["tide"], 3)[0]] == ["a", "b", "c"]
    assert [each.id for each in docs.search(["high"], 9)[0]] == ["a", "c", "d", "é"]


def test_an_excluded_id_is_not_found_and_makes_room_for_the_next(tmp_path: Path) -> None:
    docs = bm25(tmp_path / "docs", [*FACTS, FACTS[0]])
    (all_of_them,) = docs.search([FACTS[0]], 3)
    first, second, third = (each.id for each in all_of_them)
    found = docs.search([FACTS[0]] * 3, 2, exclude=[first, None, "unknown"])
    assert [[each.id for each in passages] for passages in found] == [[second, third], [first, second], [first, second]]
    with pytest.raises(ValueError):
        docs.search([FACTS[0]] * 3, 2, exclude=[first])


def test_a_query_without_a_known_word_finds_nothing(tmp_path: Path) -> None:
    docs = bm25(tmp_path / "docs", [*FACTS, None, ""])
    assert docs.search(["", "qqxzv", " \n", "?!"], 5) == [[], [], [], []]
    assert docs.search([], 5) == []


@pytest.mark.parametrize("parts", [[], [[]], [[None, ""], []]])
def test_a_dataset_without_words_has_nothing_to_find(tmp_path: Path, parts: list[list[str | None]]) -> None:
    assert bm25(tmp_path / "docs", *parts).search(["The tide?"], 5) == [[]]


def test_a_query_may_be_a_book(tmp_path: Path, texts: list[str]) -> None:
    book = " ".join(texts)
    assert len(book.split()) > 10_000
    docs = bm25(tmp_path / "docs", texts)
    assert docs.search([book], 3)[0] == docs.search([book, "tide"], 3)[0]
    assert docs.search([book], 3)[0][0].score > 1000


def test_conversations_are_found_by_all_their_turns(tmp_path: Path) -> None:
    chats = [[{"role": "user", "content": "Bread?"}, {"role": "assistant", "content": fact}] for fact in FACTS] + [None]
    made = dataset(tmp_path / "chats", {"messages": pa.array(chats, MESSAGES)})
    found = load_retriever(made.folder, by="bm25").search(["violin"], 2)
    assert [[each.text for each in passages] for passages in found] == [[f"Bread?\n\n{FACTS[2]}"]]


def test_another_column_can_be_searched(tmp_path: Path) -> None:
    made = dataset(tmp_path / "docs", {"text": FACTS[:2], "title": ["The sea", "The oven"]})
    assert load_retriever(made.folder, by="bm25", column="title").search(["oven"], 1)[0][0].text == "The oven"
    with pytest.raises(ConfigError, match="no column 'titel'"):
        load_retriever(made.folder, by="bm25", column="titel")


def test_long_documents_are_cut_into_passages_with_the_id_of_the_document(tmp_path: Path) -> None:
    document = f"{FACTS[0]} {FACTS[1]}\n\n{FACTS[2]}\n{FACTS[3]}"
    docs = bm25(tmp_path / "docs", ["Short.", document], words=18)
    found = [docs.search([word], 5)[0] for word in ("tide", "yeast", "violin", "short")]
    assert [[each.text for each in passages] for passages in found] == [
        [FACTS[0]],  # 14 words, and 8 more do not fit
        [FACTS[1] + "\n\n" + FACTS[2]],  # 8 and 8
        [FACTS[1] + "\n\n" + FACTS[2]],
        ["Short."],
    ]
    assert {passages[0].id for passages in found[:3]} == {f"{1:032x}"}
    assert docs.search(["the tide"], 5, exclude=[f"{1:032x}"]) == [[]]


@given(st.text(alphabet="ab .!\n\r\u2029é漢*", max_size=80), st.integers(1, 6))
def test_passages_hold_all_of_a_text_in_order(text: str, words: int) -> None:
    (passages,) = _passages(TextBatch.of([text]), words)
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert len(passages) == 1 or all(len(TextBatch.of([each]).words("uax29")) for each in passages)


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([" ", "\n", "\n \n\n"]))), st.integers(1, 12))
def test_a_passage_has_no_more_words_than_asked_unless_it_is_one_sentence(
    sentences: list[tuple[int, str]], words: int
) -> None:
    text = "".join(f"The{' tide' * (size - 1)}!{after}" for size, after in sentences)
    for passage in _passages(TextBatch.of([text]), words)[0]:
        assert len(passage.split()) <= words or passage.count("!") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "embedding"}, "retrieval by embedding needs a model; name it"),
        ({"by": "bm25", "model": "minilm"}, "retrieval by bm25 has no model; remove it"),
        ({"by": "bm25", "words": 0}, "passages of 0 words; set 1 or more"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_retriever(str(tmp_path), **options)  # type: ignore[arg-type]  # by name


def test_the_top_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the top 0 passages; set 1 or more"):
        bm25(tmp_path / "docs", FACTS).search(["tide"], 0)


@pytest.fixture(scope="module")
def model() -> str:
    """A real sentence encoder."""
    pytest.importorskip("torch")
    return minilm()


@pytest.fixture(scope="module")
def sea(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Facts, one of them three times, and rows without any."""
    rows = [*FACTS, " ", None, FACTS[1], FACTS[1]]
    return dataset(tmp_path_factory.mktemp("sea"), {"text": rows[:5]}, {"text": rows[5:]}).folder


def test_an_embedding_finds_a_paraphrase_that_shares_no_word(sea: str, model: str) -> None:
    asked = ["What makes dough grow in an oven?", "Ice shapes mountains.", "instruments for musicians"]
    assert load_retriever(sea, by="bm25").search(asked[1:], 1) == [[], []]
    found = load_retriever(sea, by="embedding", model=model).search(asked, 4)
    assert [passages[0].text for passages in found] == [FACTS[1], FACTS[3], FACTS[2]]
    assert [each.id for each in found[0][:3]] == [f"{i:032x}" for i in (1, 6, 7)]  # the same text, by id
    assert found[0][0].score == found[0][2].score > found[0][3].score


def test_an_embedding_of_nothing_is_not_found_and_finds_nothing(sea: str, model: str, tmp_path: Path) -> None:
    docs = load_retriever(sea, by="embedding", model=model)
    assert docs.search(["", " \n"], 3) == [[], []]
    everything, but_one = docs.search(["bread", "bread"], 9, exclude=[None, f"{6:032x}"])
    assert [each for each in everything if each.id != f"{6:032x}"] == but_one
    assert len(everything) == 6
    empty = load_retriever(dataset(tmp_path / "empty").folder, by="embedding", model=model)
    assert empty.search(["bread"], 3) == [[]]


def test_company_does_not_change_what_embeddings_find(tmp_path: Path, texts: list[str], model: str) -> None:
    begins, asked = [text[:60] for text in texts[:100]], [text[60:100] for text in texts[:20]]
    folder = dataset(tmp_path / "docs", {"text": begins}).folder
    docs = load_retriever(folder, by="embedding", model=model)
    together = docs.search(asked, 5)
    assert [docs.search([query], 5)[0] for query in asked] == together


def test_blocks_do_not_change_what_embeddings_find(texts: list[str], model: str) -> None:
    encoder = load_encoder(model, context=512, device="cpu")

    def best(builder: EmbeddingBuilder) -> list[list[tuple[float, int]]]:
        """The numbers of each query's five nearest texts, with their cosines."""
        builder.add([text[:60] for text in texts[:100]])
        found = builder.build().candidates([text[60:100] for text in texts[:20]], [5] * 20)
        return [sorted(zip(-cosines.round(6), numbers, strict=True))[:5] for numbers, cosines in found]

    assert best(EmbeddingBuilder(encoder, texts=23, queries=7)) == best(EmbeddingBuilder(encoder))


def test_the_nearest_are_those_of_all_cosines(tmp_path: Path, texts: list[str], model: str) -> None:
    begins, asked = [text[:60] for text in texts[:50]], [text[60:100] for text in texts[:5]]
    folder = dataset(tmp_path / "docs", {"text": begins}).folder
    encoder = load_encoder(model, context=512, device="cpu")
    one, other = encoder.embed(asked), encoder.embed(begins)
    cosines = (one @ other.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    for row, found in zip(cosines, load_retriever(folder, by="embedding", model=model).search(asked, 5), strict=True):
        assert [int(each.id, 16) for each in found] == np.argsort(-row)[:5].tolist()
        assert [each.score for each in found] == pytest.approx(np.sort(row)[::-1][:5], abs=2e-6)
        assert found[0] == Passage(found[0].id, begins[int(found[0].id, 16)], found[0].score)
