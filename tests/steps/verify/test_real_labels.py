"""A small run of `benchmarks/verify.py`: what verifiers say goes with what people said."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.verify import entailed, interval, paraphrased, similar

pytestmark = pytest.mark.slow


def test_nearness_in_meaning_follows_human_scores_better_than_words_in_common(shared: Path) -> None:
    found = {name: by["all"][0] for name, by in similar(shared, 200).items()}
    assert found["`similarity`"] > 0.65 and found["`bert_score` f1"] > 0.6 and found["`bert_score` f1, idf"] > 0.6
    assert max(found["word overlap"], found["`rouge_l`"]) < min(found["`similarity`"], found["`bert_score` f1"]) - 0.05


def test_a_small_head_knows_entailment_from_contradiction_better_than_chance(shared: Path, tmp_path: Path) -> None:
    right = entailed(shared, 700, str(tmp_path))
    hits, of = right["`entailment`, own head"]
    assert interval(hits, of)[0] > right["the most frequent label"][0] / of
    judged = paraphrased(shared, 120, str(tmp_path / "model"))
    assert all(accuracy > 0.6 and f1 > 0.7 for accuracy, f1, _ in judged.values())
    assert judged["`similarity`"][0] >= judged["all are paraphrases"][0]
