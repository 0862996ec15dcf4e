"""The config of a `synthesize` step.

    made: {synthesize: {from: seeds, recipe: paraphrase, model: large, set: {count: 3}}}

`recipe` is the name of one that comes with Curate, or a YAML file; what it says enters the digest, not where it
lies. `model` is one of the pipeline's endpoints.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.core.config import BadValue, Model, Path, validate
from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.core.step import StepConfig
from curate.steps.synthesize.answerers import Cascade
from curate.steps.synthesize.recipe import load_recipe
from curate.steps.synthesize.recipe_model import Recipe
from curate.steps.synthesize.template import BadTemplate, Template

_SHARD_ROWS = 1000


class ShotsConfig(Model):
    """Examples that a prompt shows.

    Attributes:
        source: the dataset.
        count: how many, for each row others.
        same: a column in which the example has the row's value.
    """

    source: str = Field(alias="from")
    count: int = Field(3, ge=1, le=100)
    same: str | None = None


class RetrieveConfig(Model):
    """Passages that a prompt shows.

    Attributes:
        source: the dataset that is searched.
        by: words, or embeddings.
        model: an encoder's folder, for embeddings.
        query: a template over the row.
        top: how many passages.
        words: documents are cut into passages of so many; null takes them whole.
    """

    source: str = Field(alias="from")
    by: Literal["bm25", "embedding"] = "bm25"
    model: ModelFile | None = None
    query: str = "{{ text }}"
    top: int = Field(3, ge=1, le=100)
    words: int | None = Field(None, ge=1)


class SamplingConfig(Model):
    """What is drawn otherwise than the recipe says."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    logprobs: int | None = Field(None, ge=0, le=20)


class SynthesizeConfig(StepConfig):
    """What is made of which rows, by whom.

    Attributes:
        source: the rows, then attribute datasets, whose columns templates may read: rows with `keep = false` are
            skipped.
        count: how many rows are made without seed rows. With a recipe of a pool: how many rows it shall make.
        recipe: with its params set.
        model: the endpoint that answers.
        samples: how often each row goes through the recipe.
        seed: of all draws.
        shots, retrieve: see there.
        cascade: a smaller model that is asked first.
        where: columns of the rows, or of their attributes, and the value that a row must have there.
    """

    source: str | list[str] | None = Field(None, alias="from")
    count: int | None = Field(None, ge=1)
    recipe: Recipe
    model: str
    samples: int = Field(1, ge=1, le=1000)
    seed: int = Field(0, ge=0, lt=1 << 63)
    shots: ShotsConfig | None = None
    retrieve: RetrieveConfig | None = None
    cascade: Cascade | None = None
    where: dict[str, str | int | bool] = {}

    def inputs(self) -> dict[str, str]:
        """The rows and their attributes, examples, passages."""
        names = [self.source] if isinstance(self.source, str) else self.source or []
        found = {f"from[{i}]": name for i, name in enumerate(names)}
        if self.shots is not None:
            found["shots"] = self.shots.source
        if self.retrieve is not None:
            found["retrieve"] = self.retrieve.source
        return found

    def models(self) -> dict[str, str]:
        """The encoder that retrieves."""
        model = self.retrieve.model if self.retrieve is not None else None
        return {} if model is None else {"retrieve.model": model}

    def endpoints(self) -> dict[str, str]:
        """Who answers."""
        return {"model": self.model, **({"cascade.model": self.cascade.model} if self.cascade else {})}

    def identity(self) -> dict[str, Plain]:
        """Everything but the names of inputs and models; the recipe by its content."""
        dumped: dict[str, Plain] = self.model_dump(
            mode="json",
            exclude={"source": True, "recipe": {"about"}, "shots": {"source"}, "retrieve": {"source", "model"}},
        )
        return dumped


def parse(value: Plain, path: Path) -> SynthesizeConfig:
    """The config from plain values; its recipe is read.

    Raises:
        BadValue: with the path of the key.
    """
    if not isinstance(value, dict):
        raise BadValue(path, "expected `recipe:`, `model:` and `from:`")
    given = dict(value)
    name, params, sampling = given.pop("recipe", None), given.pop("set", {}), given.pop("sampling", {})
    if not isinstance(name, str):
        raise BadValue((*path, "recipe"), "must name a recipe; `curate recipes` lists them")
    if not isinstance(params, dict | None):
        raise BadValue((*path, "set"), "expected params and values")
    try:
        recipe = load_recipe(name, params or {})
    except ConfigError as error:
        raise BadValue((*path, "recipe"), str(error)) from None
    recipe = _drawn(recipe, validate(SamplingConfig, sampling, (*path, "sampling")))
    # The recipe stands for its name: a union with its content would be tried in vain.
    placeholder = {**given, "recipe": recipe.model_dump(by_alias=True)}
    config = validate(SynthesizeConfig, placeholder, path)
    if (config.source is None) == (config.count is None) and recipe.pool is None:
        raise BadValue(path, "needs `from:`, the rows, or `count:`, how many to make out of nothing")
    if recipe.pool is not None and (config.source is None or config.count is None):
        raise BadValue(path, f"the recipe {recipe.name} needs `from:`, the seeds, and `count:`, how many rows to make")
    if config.count is not None and recipe.needs and recipe.pool is None:
        raise BadValue(path, f"the recipe {recipe.name} reads {', '.join(recipe.needs)}; name rows with `from:`")
    if config.where and (config.source is None or recipe.pool is not None):
        raise BadValue(
            (*path, "where"), "chooses rows of `from`, which go through the recipe one by one; leave it out here"
        )
    if config.retrieve is not None:
        _check_retrieve(config.retrieve, recipe, (*path, "retrieve"))
    return config


def _check_retrieve(retrieve: RetrieveConfig, recipe: Recipe, path: Path) -> None:
    if (retrieve.by == "embedding") == (retrieve.model is None):
        raise BadValue((*path, "model"), "an encoder's folder is needed for `by: embedding`, and for nothing else")
    try:
        unknown = Template(retrieve.query).names - {*recipe.needs, *recipe.optional, *recipe.params}
    except BadTemplate as error:
        raise BadValue((*path, "query"), str(error)) from None
    if unknown:
        raise BadValue((*path, "query"), f"no name {min(unknown)!r} here; the recipe reads {', '.join(recipe.needs)}")


def _drawn(recipe: Recipe, sampling: SamplingConfig) -> Recipe:
    """A recipe whose every stage draws otherwise."""
    changed = {name: value for name, value in dict(sampling).items() if value is not None}
    if not changed:
        return recipe
    stages = [
        stage.model_copy(update={"sampling": stage.sampling.model_copy(update=changed)}) for stage in recipe.stages
    ]
    return recipe.model_copy(update={"stages": stages})
