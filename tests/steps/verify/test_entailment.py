from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.errors import ConfigError, ModelError, RunError
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.models.encoder.fit_pair_head import Pair, fit_logistic, held_out_pairs, train_entailment
from curate.models.encoder.pair_head import LABELS, word_features
from curate.steps.train.entailment_method import Entailment
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.entailment import entailment
from tests.helpers import dataset, tree
from tests.steps.select.spaces import minilm
from tests.steps.verify.test_bert_score import PAIRS, pairs

ORDER = ("CONTRADICTION", "Entailment", "neutral")  # of a classifier that was trained elsewhere
Numbers = dict[str, list[float | None]]


@pytest.fixture(scope="module")
def sick(shared: Path) -> list[Pair]:
    """Real pairs with the labels that people gave them."""
    with zstandard.open(shared / "data/pairs_sick_nli.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [orjson.loads(line) for line in stream]
    some = random.Random(0).sample(rows, 240)
    return [Pair(f"{i:032x}", row["s1"], row["s2"], row["nli"]) for i, row in enumerate(some)]


@pytest.fixture(scope="module")
def head(sick: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> str:
    return train_entailment(sick, minilm(), str(tmp_path_factory.mktemp("nli")), device="cpu").model


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[str]], str]:
    """Tiny classifiers of pairs, of seeded weights, with the tokenizer of a real one."""

    def make(labels: Sequence[str]) -> str:
        import torch
        from transformers import BertConfig, BertForSequenceClassification

        folder = tmp_path_factory.mktemp("bert") / "model"
        shutil.copytree(minilm(), folder, ignore=lambda _, names: [name for name in names if "token" not in name])
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        ids = dict(enumerate(labels))
        config = BertConfig(vocab_size=30522, max_position_embeddings=64, id2label=ids, initializer_range=0.5, **small)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            BertForSequenceClassification(config).save_pretrained(folder)
        return str(folder)

    return make


def judged(model: str, batch: VerifyBatch, **args: object) -> Numbers:
    found = entailment(**{"model": model, "device": "cpu", **args})(batch)  # type: ignore[arg-type]
    return {name: each.to_pylist() for name, each in found.items()}


def test_a_classifier_gives_the_probabilities_of_its_labels_whatever_their_order(bert: Callable) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = bert(ORDER)
    found = judged(folder, pairs(*PAIRS))
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for i, pair in enumerate(PAIRS):
        with torch.inference_mode():
            likely = torch.softmax(model(**tokenizer(*pair, return_tensors="pt")).logits[0].double(), -1)
        for at, name in enumerate(ORDER):
            assert found[name.lower()][i] == pytest.approx(float(likely[at]), abs=1e-5)


def test_labels_of_another_kind_are_refused(bert: Callable) -> None:
    expected = "its labels are LABEL_0, LABEL_1, LABEL_2, not entailment, neutral, contradiction: name a model"
    with pytest.raises(ModelError, match=expected):
        entailment(model=bert(["LABEL_0", "LABEL_1", "LABEL_2"]))
    with pytest.raises(ModelError, match="its labels are entailment, not_entailment, not"):
        entailment(model=bert(["entailment", "not_entailment"]))


@pytest.mark.parametrize("kind", ["bert", "head"])
def test_the_company_of_a_row_changes_no_bit(request: pytest.FixtureRequest, kind: str) -> None:
    model = request.getfixturevalue("head") if kind == "head" else request.getfixturevalue("bert")(ORDER)
    every = [*PAIRS, ("The garden was quiet. " * 12, "Nobody spoke."), PAIRS[0]]
    together = judged(model, pairs(*every), both=True)
    for i, each in enumerate(every):
        alone = judged(model, pairs(each), both=True, batch_tokens=1)
        assert {name: values[0] for name, values in alone.items()} == {name: v[i] for name, v in together.items()}


@pytest.mark.parametrize("kind", ["bert", "head"])
def test_both_is_the_lower_of_the_two_directions(request: pytest.FixtureRequest, kind: str) -> None:
    model = request.getfixturevalue("head") if kind == "head" else request.getfixturevalue("bert")(ORDER)
    there = judged(model, pairs(*PAIRS), both=True)
    back = judged(model, pairs(*[pair[::-1] for pair in PAIRS]), both=True)
    assert there["both"] == back["both"]
    assert there["both"] == np.minimum(there["entailment"], back["entailment"]).tolist()
    assert judged(model, pairs(*PAIRS)) == {name: there[name] for name in LABELS}


def test_probabilities_are_of_one_whole(head: str) -> None:
    found = judged(head, pairs(*PAIRS))
    assert list(found) == list(LABELS)
    assert np.sum(list(found.values()), axis=0) == pytest.approx(1, abs=3e-6)


def test_of_several_parents_that_counts_which_entails_most(head: str) -> None:
    parents = {"a": PAIRS[2][0], "b": PAIRS[0][0], "c": " "}
    rows = VerifyBatch.of([{"id": "x", "text": PAIRS[0][1], "parents": ["a", "b", "c"]}], parents)
    alone = judged(head, pairs(PAIRS[0], (PAIRS[2][0], PAIRS[0][1])))
    best = int(np.argmax(alone["entailment"]))
    assert judged(head, rows) == {name: [values[best]] for name, values in alone.items()}


def test_what_cannot_be_judged_is_null(head: str) -> None:
    found = judged(head, pairs(("A text.", None), ("A text.", " "), (None, "A text."), ("", "A text.")), both=True)
    assert found == {name: [None] * 4 for name in (*LABELS, "both")}


def test_the_card_says_how_good_the_head_is_on_pairs_that_it_has_not_learnt(head: str) -> None:
    card = orjson.loads(Path(head).with_name("model.json").read_bytes())
    held = card["held_out"]
    assert held["pairs"] > 20 and held["accuracy"] > held["majority"] and set(held["recall"]) <= set(LABELS)
    assert card["data"]["pairs"] == 240 and sum(card["data"]["labels"].values()) == 240


def test_the_same_bytes_whatever_the_order_of_the_pairs(tmp_path: Path, sick: list[Pair]) -> None:
    for name, some in (("one", sick[:60]), ("two", sick[59::-1])):
        train_entailment(some, minilm(), str(tmp_path / name), device="cpu")
    one = tree(tmp_path / "one")
    assert {"model.json", "model/entailment.json", "model/entailment.safetensors"} < one.keys()
    assert one == tree(tmp_path / "two")


def test_the_pipeline_step_trains_from_columns(tmp_path: Path, sick: list[Pair]) -> None:
    some = sick[:60]
    halves = [
        {"s1": [p.premise for p in part], "s2": [p.hypothesis for p in part], "nli": [p.label for p in part]}
        for part in (some[:40], some[40:])
    ]
    data = dataset(tmp_path / "pairs", *halves)
    method = Entailment(**{"from": "pairs"}, premise="s1", hypothesis="s2", label="nli", encoder="x", device="cpu")
    assert method.inputs() == {"from[0]": "pairs"} and method.models() == {"encoder": "x"}
    assert not {"from", "source", "encoder", "device", "batch_tokens"} & method.identity().keys()

    def run(method: Entailment) -> Dataset:
        step = Step("nli", "train", 1, {}, {"from[0]": data}, {"encoder": minilm()}, method.run)
        return execute(step, str(tmp_path / "run"), LocalEngine(), Resources(workers=1), Progress("quiet"))

    with pytest.raises(ConfigError, match="no column 'ss' in pairs, which `premise:` names; known: nli, s1, s2"):
        run(method.model_copy(update={"premise": "ss"}))
    done = run(method)
    direct = train_entailment(some, minilm(), str(tmp_path / "direct"), device="cpu")
    assert done.manifest.details["card"] == direct.card and done.manifest.hash_of("model") == direct.card["model"]
    assert judged(str(Path(done.folder, "model")), pairs(*PAIRS)) == judged(direct.model, pairs(*PAIRS))


def test_pairs_without_a_label_or_a_text_are_counted_and_left_out(tmp_path: Path, sick: list[Pair]) -> None:
    odd = [replace(sick[0], id="x", label=None), replace(sick[0], id="y", hypothesis=" ")]
    card = train_entailment([*sick[:60], *odd], minilm(), str(tmp_path), device="cpu").card
    assert card["data"]["pairs"] == 60 and card["data"]["left_out"] == 2


def test_pairs_that_give_no_model_are_refused(tmp_path: Path, sick: list[Pair]) -> None:
    def train(some: list[Pair]) -> None:
        train_entailment(some, minilm(), str(tmp_path), device="cpu")

    with pytest.raises(ConfigError, match="pair x: its label 'maybe' is none of entailment, neutral, contradiction"):
        train([*sick[:30], replace(sick[0], id="x", label="maybe")])
    with pytest.raises(RunError, match="5 of 5 pairs have texts and a label; training needs at least 20"):
        train(sick[:5])
    with pytest.raises(RunError, match="0 of 30 pairs are held out|30 of 30 pairs are held out"):
        train([replace(each, premise="The same.") for each in sick[:30]])
    with pytest.raises(ConfigError, match="held_out 1.0, strength 0.3"):
        train_entailment(sick, minilm(), str(tmp_path), held_out=1.0)


def change_weight(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = str(folder / "entailment.safetensors")
    tensors = load_file(path)
    save_file({**tensors, "weight": np.ascontiguousarray(change(tensors["weight"]))}, path)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "entailment.json").write_text("{}"), "its head cannot be read"),
        (lambda f: (f / "entailment.safetensors").write_bytes(b"xx"), "its head cannot be read"),
        (lambda f: (f / "entailment.json").unlink(), "no config.json in it"),
        (lambda f: change_weight(f, lambda each: each[:, 1:]), "its head is for 1543 features of a pair, its encoder"),
        (lambda f: change_weight(f, lambda each: each[1:]), "its head is not of 3 labels"),
        (lambda f: change_weight(f, lambda each: each * np.nan), "not finite"),
        (lambda f: (f / "encoder/model.safetensors").unlink(), r"no \.safetensors weights"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(head: str, tmp_path: Path, break_it: Callable, message: str) -> None:
    shutil.copytree(head, tmp_path / "model")
    break_it(tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        entailment(model=str(tmp_path / "model"))


def test_settings_that_do_not_go_with_the_model_are_refused(head: str, bert: Callable) -> None:
    with pytest.raises(ConfigError, match="reads as many tokens as it was trained with; remove `context:`"):
        entailment(model=head, context=64)
    with pytest.raises(ConfigError, match="the model reads 64 tokens, not 65"):
        entailment(model=bert(ORDER), context=65)
    with pytest.raises(ConfigError, match="context 0 is below 1"):
        entailment(model=head, context=0)


def test_the_solution_is_where_the_loss_is_flat() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)) * [1, 5, 0.1, 2, 0] + 3, rng.integers(0, 3, 200)
    x[:, 1] += 10 * y
    weight, bias = fit_logistic(x, y, 0.1)
    spread = np.where(x.std(0) > 0, x.std(0), 1)
    logits = x @ weight.T + bias
    likely = np.exp(logits - logits.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    error = likely - np.eye(3)[y]
    flat = error.T @ ((x - x.mean(0)) / spread) / len(x) + 0.1 * weight * spread
    assert np.abs(flat).max() < 1e-5 and np.abs(error.mean(0)).max() < 1e-5
    assert (likely.argmax(1) == y).mean() > 0.6


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.sampled_from("abcdefghijklmnop"))), st.integers(0, 9))
def test_no_text_is_on_both_sides_of_the_split(some: list[tuple[str, str]], seed: int) -> None:
    out = held_out_pairs(some, 0.4, seed)
    sides = [
        {text for pair, is_out in zip(some, out, strict=True) if is_out == side for text in pair} for side in (0, 1)
    ]
    assert not sides[0] & sides[1]
    again = held_out_pairs(some[::-1], 0.4, seed)
    assert (again[::-1] == out).all()


def test_words_in_common_lengths_and_negations_are_counted() -> None:
    found = word_features([("A man isn't asleep", "a MAN sleeps"), ("It is", "It is not"), ("", "")])
    assert found[0] == pytest.approx([2 / 3, 2 / 4, np.log(4 / 5), 1, 0, 1, 2])
    assert found[1] == pytest.approx([2 / 3, 1, np.log(4 / 3), 1, 1, 1, 0])
    assert not found[2].any()
