"""The `train` step: fits a small model on datasets; scorers name the step to use its model.

    classifier: {train: {fasttext: {positive: good, negative: poor}}}
    topics:     {train: {labels: {from: seeds, label: label}}}
    lm:         {train: {ngram: {from: good, order: 5}}}
    ratios:     {train: {dsir: {target: good, raw: docs}}}
    proxy:      {train: {causal_lm: {from: good, tokens: 1000000}}}
    tuned:      {train: {finetune: {from: [pool, picks], model: models/smol}}}
    scores:     {score: {from: docs, quality: {model: classifier, label: hq}, perplexity: {model: lm}}}

The output folder holds the model and its card; the model's hash enters the digest of whatever uses it.
"""

from __future__ import annotations

from curate.core.config import BadValue, Path, validate
from curate.core.digest import Plain
from curate.core.errors import nearest
from curate.core.step import Job, Result, StepConfig
from curate.core.table import Table
from curate.steps.train.method import Method

VERSION = 3

METHODS: Table[type[Method]] = Table(
    {
        "causal_lm": "curate.steps.train.causal_lm_method:CausalLM",
        "dsir": "curate.steps.train.dsir_method:Dsir",
        "embedding": "curate.steps.train.embedding_method:Embedding",
        "entailment": "curate.steps.train.entailment_method:Entailment",
        "fasttext": "curate.steps.train.fasttext_method:FastText",
        "finetune": "curate.steps.train.finetune_method:Finetune",
        "labels": "curate.steps.train.labels_method:Labels",
        "ngram": "curate.steps.train.ngram_method:Ngram",
        "perplexity_correlations": "curate.steps.train.correlations_method:Correlations",
    }
)


class TrainConfig(StepConfig):
    """One method and its arguments."""

    name: str
    method: Method

    def inputs(self) -> dict[str, str]:
        """The datasets, by the role they play."""
        return self.method.inputs()

    def models(self) -> dict[str, str]:
        """The model files that the method reads."""
        return self.method.models()

    def identity(self) -> dict[str, Plain]:
        """The method, its revision after the first, and its arguments."""
        revision: dict[str, Plain] = {"revision": self.method.REVISION} if self.method.REVISION > 1 else {}
        return {self.name: self.method.identity(), **revision}


def parse(value: Plain, path: Path) -> TrainConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown method or argument.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise BadValue(path, f"expected one of {', '.join(METHODS)} and its arguments")
    ((name, args),) = value.items()
    if name not in METHODS:
        raise BadValue((*path, name), f"no method {name!r}; {nearest(name, METHODS)}")
    return TrainConfig.model_construct(name=name, method=validate(METHODS[name], args, (*path, name)))


def run(job: Job, config: TrainConfig) -> Result:
    """Train, and record the model's hash and card."""
    return config.method.run(job)
