"""Verifiers: plain functions from a batch of synthetic rows to columns, and the table that names them.

    verifier = VERIFIERS["rouge_l"](to="parents")
    verifier(VerifyBatch.of([{"id": "a", "text": "A rewording.", "parents": ["p"]}], {"p": "The text."}))[""]

To add one: write a factory in a file here, add its line to the table, and a row to the contract test.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.core.table import Table
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch

VERIFIERS: Table[Callable[..., Verifier]] = Table(
    {
        "bart_score": "curate.steps.verify.bart_score:bart_score",
        "bert_score": "curate.steps.verify.bert_score:bert_score",
        "code": "curate.steps.verify.code:code",
        "consistency": "curate.steps.verify.consistency:consistency",
        "copied_prompt": "curate.steps.verify.refusal:copied_prompt",
        "entailment": "curate.steps.verify.entailment:entailment",
        "form": "curate.steps.verify.form:form",
        "grounded": "curate.steps.verify.grounded:grounded",
        "label_agreement": "curate.steps.verify.label_agreement:label_agreement",
        "length": "curate.steps.verify.form:length",
        "near": "curate.steps.verify.near:near",
        "ngram_overlap": "curate.steps.verify.overlap:ngram_overlap",
        "numeric": "curate.steps.verify.numeric:numeric",
        "pii": "curate.steps.verify.pii:pii",
        "refusal": "curate.steps.verify.refusal:refusal",
        "rouge_l": "curate.steps.verify.overlap:rouge_l",
        "schema": "curate.steps.verify.form:schema",
        "similarity": "curate.steps.verify.similarity:similarity",
    }
)

__all__ = ["VERIFIERS", "Columns", "Verifier", "VerifyBatch"]
