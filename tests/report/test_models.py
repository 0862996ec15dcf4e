from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from curate.core.dataset import Dataset, write_manifest
from curate.core.digest import Plain
from curate.models.lm.checkpoints import Checkpoint
from curate.models.lm.lora import Lora
from curate.report.build import build_report
from curate.report.card import Bar
from curate.report.models import Model, describe, flatten
from tests.helpers import dataset
from tests.report.test_report import Page, section

HELD: dict[str, Plain] = {
    "threshold": 0.5, "precision": 0.952381, "recall": 1.0, "f1": 0.97561, "auroc": 0.992857,
    "deciles": [0.000686, 0.28249, 0.98163], "texts": {"good": 20, "poor": 7},
}  # fmt: skip
FASTTEXT: dict[str, Plain] = {
    "kind": "fasttext", "positive": "good", "negative": "poor", "settings": {"dim": 8, "lr": 0.5},
    "data": {"good": {"texts": 258, "digest": "0e"}, "poor": {"texts": 135, "digest": "78"}}, "held_out": HELD,
}  # fmt: skip
CURVE: list[Plain] = [
    {"step": 1, "tokens": 1000 * i, "train_loss": 6.0 / i, "held_out_loss": None, "held_out_bits_per_byte": None}
    for i in range(1, 5)
]
CARDS: dict[str, dict[str, Plain]] = {
    "fasttext": FASTTEXT,
    "causal_lm": {
        "kind": "causal_lm", "parameters": 43168, "curve": CURVE, "learnt": {"tokens": 60416, "epochs": 1.0, "loss": 4.8},
        "held_out": {"loss": 4.968847, "bits_per_byte": 3.567698, "texts": 281}, "settings": {"width": 32},
    },
    "ngram": {
        "kind": "ngram", "order": 3, "words": 737, "tokens": 5794, "documents": 4, "ngrams": [737, 3061, 604],
        "discounts": [[0.575, 1.200919, 1.649206], [0.774727, 1.4, 1.2], [0.8972, 1.4, 1.8]], "prune": [0, 0, 1],
        "smoothing": "modified Kneser-Ney, interpolated", "normaliser": "ccnet_spaced", "tokeniser": "punct",
    },
    "embedding": {
        "kind": "embedding", "data": {"rows": 40, "labels": {"0": 30, "1": 8, "10": 1, "2": 1}},
        "held_out": {**HELD, "mse": 0.883491, "mse_of_the_mean": 1.366728, "rows": 514, "positive": 107},
    },
    "dsir": {
        "kind": "dsir", "divergence": 0.078902, "hash": "polynomial", "buckets": 10000,
        "data": {"target": {"texts": 107, "ngrams": 39893, "buckets": 7881},
                 "raw": {"texts": 179, "ngrams": 50543, "buckets": 8818}},
    },
    "finetune": {
        "kind": "finetune", "base": "d3c1d63138fef552", "parameters": 5000, "trained": 1200, "curve": CURVE,
        "settings": {"lora": {"rank": 8, "alpha": 16.0, "dropout": 0.1, "targets": ["q_proj", "v_proj"]}, "lr": 0.002},
        "data": {"conversations": 40, "cut": 3, "left_out": {"empty-turn": 4, "no-answer": 1}},
        "learnt": {"steps": 96, "tokens": 18696, "loss": 2.716951},
        "held_out": {"conversations": 10, "loss_before": 5.288187, "loss": 3.629141},
    },
    "something_new": {"kind": "something_new", "values": [0.123456789] * 30, "deep": {"er": [{"x": 1.0}, [2]]}},
}  # fmt: skip


def trained(folder: Path, card: dict[str, Plain]) -> Dataset:
    made = dataset(folder, kind="train")
    return write_manifest(str(folder), replace(made.manifest, details={"model": "model.bin", "card": card}))


def made(folder: Path, method: str) -> Model:
    return describe("lm", trained(folder, CARDS[method]), {})


def table(model: Model, title: str) -> list[tuple[str | Bar, ...]]:
    return list(next(each for each in model.tables if each.title.startswith(title)).rows)


def test_a_classifier_shows_what_it_reaches_on_held_out_texts(tmp_path: Path) -> None:
    model = made(tmp_path / "m", "fasttext")
    assert dict(model.facts) == {
        "looks for": "good",
        "precision at 0.5": "0.9524",
        "recall at 0.5": "1",
        "F1 at 0.5": "0.9756",
        "AUROC": "0.9929",
    }
    assert table(model, "Texts") == [("good", "258", "20"), ("poor", "135", "7")]
    assert table(model, "Deciles") == [("score", "0.000686", "0.2825", "0.9816")]
    assert model.settings == "dim 8, lr 0.5"


def test_a_language_model_shows_its_loss_where_it_was_measured(tmp_path: Path) -> None:
    model = made(tmp_path / "m", "causal_lm")
    assert ("held-out bits per byte", "3.568") in model.facts
    assert model.curve.count('<circle class="curve train"') == 4
    assert model.curve.count('<circle class="curve held-out"') == 0


def test_an_ngram_model_shows_its_orders_with_what_was_pruned(tmp_path: Path) -> None:
    model = made(tmp_path / "m", "ngram")
    assert table(model, "N-grams")[0] == ("1", "737", "0.575", "1.201", "1.649", "nothing")
    assert table(model, "N-grams")[2] == ("3", "604", "0.8972", "1.4", "1.8", "seen ≤ 1 times")
    assert "smoothing modified Kneser-Ney, interpolated" in model.settings


def test_an_embedding_classifier_shows_its_labels_in_order_of_number(tmp_path: Path) -> None:
    model = made(tmp_path / "m", "embedding")
    assert [(row[0], row[2]) for row in table(model, "Labels")] == [("0", "30"), ("1", "8"), ("2", "1"), ("10", "1")]
    assert ("mean squared error", "0.8835") in model.facts


def test_importance_weights_show_both_sides(tmp_path: Path) -> None:
    model = made(tmp_path / "m", "dsir")
    assert table(model, "The two sides")[0] == ("target", "107", "39,893", "7,881")
    assert model.settings == "hash polynomial, buckets 10,000"


def test_domains_are_shown_from_both_ends_with_what_became_of_them(tmp_path: Path) -> None:
    chosen: dict[str, Plain] = {"estimator": "sign_cdf", "models": 8, "domains": {"known": 30, "included": 10}}
    data = trained(tmp_path / "m", {**FASTTEXT, "correlations": chosen})
    lines = [f"d{i:02d},{0.5 - i / 30},{i},{10 * i},0,{'yes' if i < 10 else 'no'}" for i in range(30)]
    lines.append("unknown,,1,1,0,no")
    (tmp_path / "m" / "domains.csv").write_text("\n".join(["domain,gamma,documents,tokens,taken,included", *lines]))
    model = describe("chosen", data, {})
    rows = table(model, "Domains")
    assert model.method == "perplexity_correlations"
    assert [row[0] for row in rows] == [
        *(f"d{i:02d}" for i in range(10)),
        "10 between",
        *(f"d{i:02d}" for i in range(20, 30)),
    ]
    assert rows[0][1:] == (Bar(50, 50, "kept"), "0.5", "yes", "0", "0")
    last = rows[-1][1]
    assert isinstance(last, Bar)
    assert last.kind == "dropped"
    assert last.start + last.width == pytest.approx(50)
    assert ("precision at 0.5", "0.9524") in model.facts


def tuned(folder: Path, card: dict[str, Plain], epochs: int) -> Dataset:
    """A tuned model with its checkpoints, the rate falling."""
    data = trained(folder, card)
    names = [f"model/checkpoints/epoch-{i:02d}/checkpoint.json" for i in range(1, epochs + 1)]
    for i, name in enumerate(names, 1):
        (folder / name).parent.mkdir(parents=True)
        said = Checkpoint(
            base="d3c1d63138fef552", lora=Lora(), template=None, context=128, epoch=i, step=4 * i,
            rate=0.002 / i, betas=(0.9, 0.999), eps=1e-8,
        )  # fmt: skip
        (folder / name).write_text(said.model_dump_json())
    return write_manifest(str(folder), replace(data.manifest, files={name: "00" for name in reversed(names)}))


def test_a_tuned_model_shows_its_base_what_learnt_and_its_loss(tmp_path: Path) -> None:
    model = made(tmp_path / "m", "finetune")
    facts = dict(model.facts)
    assert facts["base model"] == "d3c1d63138fe"
    assert facts["what learnt"] == "LoRA on q_proj, v_proj"
    assert [facts[f"LoRA {each}"] for each in ("rank", "alpha", "dropout")] == ["8", "16", "0.1"]
    assert (facts["parameters learnt"], facts["parameters in all"]) == ("1,200", "5,000")
    assert (facts["held-out loss before"], facts["held-out loss after"]) == ("5.288", "3.629")
    assert model.curve.count('<circle class="curve train"') == 4
    assert "lr 0.002" in model.settings
    full = {**CARDS["finetune"], "settings": {"lora": None}, "held_out": {"conversations": 0, "loss": None}}
    facts = dict(describe("lm", trained(tmp_path / "full", full), {"d3c1d63138fef552": "proxy"}).facts)
    assert (facts["base model"], facts["what learnt"]) == ("proxy", "every parameter")
    assert not any(each.startswith(("LoRA", "held-out")) for each in facts)


def test_a_tuned_model_says_what_became_of_every_conversation(tmp_path: Path) -> None:
    assert table(made(tmp_path / "m", "finetune"), "Conversations") == [
        ("learnt", Bar(0, 62.5, "kept"), "25"),
        ("held out", Bar(0, 25, "kept"), "10"),
        ("left out: empty-turn", Bar(0, 10, "dropped"), "4"),
        ("left out: no-answer", Bar(0, 2.5, "dropped"), "1"),
        ("of them cut to the context", Bar(0, 7.5, "rest"), "3"),
    ]


def test_a_tuned_model_shows_the_mean_rate_of_its_epochs_in_order_and_of_many_the_ends(tmp_path: Path) -> None:
    few = table(describe("lm", tuned(tmp_path / "few", CARDS["finetune"], 4), {}), "Epochs")
    assert few[1] == ("2", Bar(0, 50, "kept"), "0.001", "8")
    assert [row[0] for row in few] == ["1", "2", "3", "4"]
    many = table(describe("lm", tuned(tmp_path / "many", CARDS["finetune"], 105), {}), "Epochs")
    assert [row[0] for row in many] == [*map(str, range(1, 11)), "85 between", *map(str, range(96, 106))]


def test_the_page_calls_the_base_of_a_tuned_model_by_the_step_that_trained_it(tmp_path: Path) -> None:
    base = trained(tmp_path / "base", CARDS["causal_lm"])
    base = write_manifest(base.folder, replace(base.manifest, files={"model.bin": "d3c1d63138fef552"}))
    outputs = {"proxy": base, "tuned": tuned(tmp_path / "tuned", CARDS["finetune"], 2)}
    shown = Page(section(build_report("demo", outputs), "models")).text
    assert "base model proxy what learnt" in shown


def test_a_card_of_an_unknown_method_is_shown_value_by_value() -> None:
    assert list(flatten(CARDS["something_new"])) == [
        ("kind", "something_new"),
        ("values", ", ".join(["0.1235"] * 12) + " and 18 more"),
        ("deep · er · 1 · x", "1"),
        ("deep · er · 2", "2"),
    ]


def test_a_card_without_the_figures_has_dashes(tmp_path: Path) -> None:
    model = describe("lm", trained(tmp_path / "m", {"kind": "fasttext"}), {})
    assert ("AUROC", "–") in model.facts


@pytest.mark.parametrize("method", CARDS)
def test_no_card_is_printed_as_nested_values(tmp_path: Path, method: str) -> None:
    hostile = {**CARDS[method], "note": "<script>x</script>"}
    source = section(build_report("demo", {"lm": trained(tmp_path / "m", hostile)}), "models")
    shown = Page(source).text
    assert not set("{}[]'") & set(shown.replace("<script>x</script>", ""))
    assert "None" not in shown
    assert "<script" not in source
