from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from curate.dataset import Dataset, write_manifest
from curate.digest import Plain
from curate.report.build import build_report
from curate.report.models import Bar, Model, describe, flatten
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
    "something_new": {"kind": "something_new", "values": [0.123456789] * 30, "deep": {"er": [{"x": 1.0}, [2]]}},
}  # fmt: skip


def trained(folder: Path, card: dict[str, Plain]) -> Dataset:
    made = dataset(folder, kind="train")
    return write_manifest(str(folder), replace(made.manifest, details={"model": "model.bin", "card": card}))


def made(folder: Path, method: str) -> Model:
    return describe("lm", trained(folder, CARDS[method]))


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
    model = describe("chosen", data)
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


def test_a_card_of_an_unknown_method_is_shown_value_by_value() -> None:
    assert list(flatten(CARDS["something_new"])) == [
        ("kind", "something_new"),
        ("values", ", ".join(["0.1235"] * 12) + " and 18 more"),
        ("deep · er · 1 · x", "1"),
        ("deep · er · 2", "2"),
    ]


def test_a_card_without_the_figures_has_dashes(tmp_path: Path) -> None:
    model = describe("lm", trained(tmp_path / "m", {"kind": "fasttext"}))
    assert ("AUROC", "–") in model.facts


@pytest.mark.parametrize("method", CARDS)
def test_no_card_is_printed_as_nested_values(tmp_path: Path, method: str) -> None:
    hostile = {**CARDS[method], "note": "<script>x</script>"}
    source = section(build_report("demo", {"lm": trained(tmp_path / "m", hostile)}), "models")
    shown = Page(source).text
    assert not set("{}[]'") & set(shown.replace("<script>x</script>", ""))
    assert "None" not in shown
    assert "<script" not in source
