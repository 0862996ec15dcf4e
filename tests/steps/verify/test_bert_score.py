from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curate.core.errors import ConfigError, ModelError
from curate.models.device import threads
from curate.models.encoder.encoder import Encoder, load_encoder
from curate.models.encoder.states import TokenStates, token_states
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.bert_score import bert_score, match
from curate.steps.verify.step import parse
from tests.helpers import dataset
from tests.steps.select.spaces import minilm

PAIRS = [
    ("The cat sat on the mat.", "A cat was sitting on a mat."),
    ("Prices rose sharply last year, the bank said.", "The bank said that prices fell."),
    ("He plays the guitar", "Quantum chromodynamics describes the strong interaction"),
    ("one", "one one two"),
]
REFERENCE = ["The bank was closed.", "A man plays the guitar.", "The cat and the dog sat on a wall."]
# By the authors' package, bert_score 0.3.12, with the same encoder, a pair at a time.
PLAIN = [
    (0.878978, 0.903115, 0.890883),
    (0.588059, 0.475176, 0.525625),
    (0.073037, 0.087171, 0.07948),
    (0.659258, 0.828072, 0.734085),
]
IDF = [
    (0.861314, 0.915668, 0.88766),
    (0.570552, 0.427044, 0.488476),
    (0.069127, 0.083785, 0.075753),
    (0.659258, 0.828072, 0.734085),
]
THIRD_LAYER = [
    (0.808798, 0.845578, 0.82678),
    (0.763412, 0.643903, 0.698583),
    (0.239744, 0.320891, 0.274445),
    (0.667719, 0.800607, 0.72815),
]


def pairs(*rows: tuple[str | None, str | None]) -> VerifyBatch:
    parents = {f"p{i}": original for i, (original, _) in enumerate(rows) if original is not None}
    made = [{"id": str(i), "text": text, "parents": [f"p{i}"]} for i, (_, text) in enumerate(rows)]
    return VerifyBatch.of(made, parents)


def numbers(batch: VerifyBatch, **args: object) -> list[tuple[float | None, ...]]:
    found = bert_score(**{"model": minilm(), "device": "cpu", **args})(batch)  # type: ignore[arg-type]
    assert list(found) == ["precision", "recall", "f1"]
    return list(zip(*(each.to_pylist() for each in found.values()), strict=True))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(minilm(), context=128, device="cpu")


def test_the_numbers_are_those_of_the_authors_package() -> None:
    assert np.array(numbers(pairs(*PAIRS))) == pytest.approx(np.array(PLAIN), abs=2e-6)


def test_with_idf_too(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "reference", {"text": REFERENCE[:2]}, {"text": REFERENCE[2:]}).folder
    assert np.array(numbers(pairs(*PAIRS), idf=folder)) == pytest.approx(np.array(IDF), abs=2e-6)


def test_a_pipeline_names_the_step_that_idf_is_counted_in() -> None:
    config = parse({"from": "made", "bert": {"verifier": "bert_score", "model": "m", "idf": "seeds"}}, ())
    assert config.inputs() == {"from": "made", "bert.idf": "seeds"} and config.models() == {"bert.model": "m"}
    assert "seeds" not in str(config.identity())


def test_and_those_of_another_layer() -> None:
    assert np.array(numbers(pairs(*PAIRS), layer=3)) == pytest.approx(np.array(THIRD_LAYER), abs=2e-6)


def test_the_company_of_a_row_changes_no_bit() -> None:
    long = ("The garden was quiet. " * 30, "Nobody spoke in the garden. " * 20)
    every = [*PAIRS, long, PAIRS[0]]
    together = numbers(pairs(*every))
    assert [numbers(pairs(each), batch_tokens=1)[0] for each in every] == together
    assert numbers(pairs(*every[::-1]))[::-1] == together


def test_a_baseline_moves_each_number() -> None:
    plain, moved = numbers(pairs(*PAIRS)), numbers(pairs(*PAIRS), rescale=0.3)
    assert np.array(moved) == pytest.approx((np.array(plain) - 0.3) / 0.7, abs=2e-6)


def test_of_several_parents_the_one_with_the_best_f1_counts_for_all_three() -> None:
    parents = {"a": PAIRS[2][0], "b": PAIRS[0][0], "c": ""}
    rows = [{"id": "x", "text": PAIRS[0][1], "parents": ["a", "b", "c", "gone"]}]
    assert numbers(VerifyBatch.of(rows, parents)) == numbers(pairs(PAIRS[0]))


def test_what_cannot_be_compared_is_null() -> None:
    rows = pairs(("A text.", None), ("A text.", ""), ("A text.", " \n"), (None, "A text."), ("", "A text."), PAIRS[0])
    assert [each[0] is None for each in numbers(rows)] == [True] * 5 + [False]


def test_a_column_may_stand_in_the_place_of_the_parents() -> None:
    rows = VerifyBatch.of([{"id": "x", "answer": PAIRS[0][1], "seeds": [PAIRS[0][0], PAIRS[2][0]]}])
    assert numbers(rows, column="answer", to="seeds") == numbers(pairs(PAIRS[0]))


def test_any_encoder_will_do(shared: Path) -> None:
    precision, recall, f1 = numbers(pairs(("A garden.", "A garden.")), model=str(shared / "models/tiny-llama"))[0]
    assert (precision, recall, f1) == (1.0, 1.0, 1.0)


def test_states_do_not_see_the_padding_and_added_tokens_are_known(encoder: Encoder) -> None:
    import torch

    text = "A garden, [SEP] unbelievably \U0001f9ff quiet."
    (found,) = [each for each in token_states(encoder, ["x " * 40, text, ""])][1:2]
    with torch.inference_mode(), threads(1):
        ids = torch.tensor(found.ids)[None]
        alone = encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]  # type: ignore
    assert found.vectors == pytest.approx(alone.double().numpy(), abs=1e-5)
    # A special token that a text spells is cut into plain ones; a token for what is unknown is the text's own.
    assert found.special.tolist() == [True, *[False] * (len(found.ids) - 2), True]


states = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-4, 4).map(lambda x: x + 0.01))


def plain(vectors: np.ndarray) -> TokenStates:
    return TokenStates(np.arange(len(vectors)), vectors, np.zeros(len(vectors), np.bool_))


@given(states, states)
def test_turned_round_precision_and_recall_change_places(one: np.ndarray, other: np.ndarray) -> None:
    there, back = match(plain(one), plain(other)), match(plain(other), plain(one))
    assert there is not None and back is not None
    assert (there[0], there[1]) == pytest.approx((back[1], back[0])) and there[2] == pytest.approx(back[2])
    assert all(-1 - 1e-9 <= each <= 1 + 1e-9 for each in there[:2])


@given(states)
def test_a_text_matches_itself(one: np.ndarray) -> None:
    assert match(plain(one), plain(one)) == pytest.approx((1, 1, 1))


def test_tokens_that_weigh_nothing_are_no_text() -> None:
    one = TokenStates(np.array([1, 2]), np.ones((2, 3)), np.array([True, False]))
    assert match(one, plain(np.ones((1, 3))), {0: 1.0, 1: 1.0, 2: 0.0}) is None
    assert match(one, plain(np.ones((1, 3))), {0: 1.0, 1: 0.0, 2: 1.0}) is not None


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ({"layer": 7}, ModelError, "has 6 layers, so `layer: 7` is not there"),
        ({"layer": -1}, ConfigError, "layer -1 is below 0"),
        ({"rescale": 1.0}, ConfigError, "rescale 1.0 is not below 1"),
        ({"context": 0}, ConfigError, "context 0 is below 1"),
        ({"idf": "/nowhere"}, ConfigError, "no manifest.json"),
        ({"model": "/nowhere"}, ModelError, "no such model folder"),
    ],
)
def test_what_cannot_be_is_refused_before_a_row_is_read(args: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        numbers(pairs(), **args)


def test_a_reference_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no column `text`"):
        numbers(pairs(), idf=dataset(tmp_path / "a", {"words": ["a"]}).folder)
    with pytest.raises(ConfigError, match="has no rows"):
        numbers(pairs(), idf=dataset(tmp_path / "c", {"text": []}).folder)
