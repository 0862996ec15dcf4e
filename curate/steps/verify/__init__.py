"""Verifiers: plain functions from a batch of made rows to columns, and the table that names them.

    verifier = VERIFIERS["rouge_l"](to="parents")
    verifier(VerifyBatch.of([{"id": "a", "text": "A rewording.", "parents": ["p"]}], {"p": "The text."}))[""]

To add one: write a factory in a file here, add its line to the table, and a row to the contract test.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.steps.verify.bart_score import bart_score
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.steps.verify.bert_score import bert_score
from curate.steps.verify.code import code
from curate.steps.verify.consistency import consistency
from curate.steps.verify.entailment import entailment
from curate.steps.verify.form import form, length, schema
from curate.steps.verify.grounded import grounded
from curate.steps.verify.label_agreement import label_agreement
from curate.steps.verify.near import near
from curate.steps.verify.numeric import numeric
from curate.steps.verify.overlap import ngram_overlap, rouge_l
from curate.steps.verify.pii import pii
from curate.steps.verify.refusal import copied_prompt, refusal
from curate.steps.verify.similarity import similarity

VERIFIERS: dict[str, Callable[..., Verifier]] = {
    "bart_score": bart_score,
    "bert_score": bert_score,
    "code": code,
    "consistency": consistency,
    "copied_prompt": copied_prompt,
    "entailment": entailment,
    "form": form,
    "grounded": grounded,
    "label_agreement": label_agreement,
    "length": length,
    "near": near,
    "ngram_overlap": ngram_overlap,
    "numeric": numeric,
    "pii": pii,
    "refusal": refusal,
    "rouge_l": rouge_l,
    "schema": schema,
    "similarity": similarity,
}

__all__ = ["VERIFIERS", "Columns", "Verifier", "VerifyBatch"]
