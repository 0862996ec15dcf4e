"""Recipes: a YAML file says which prompts are asked of a row, how their answers are read, and which rows they make.

    recipe = load_recipe("paraphrase", {"count": 2})
    recipe.stages[0].prompt

A recipe has `params` that a pipeline may set, `stages` that are asked one after the other, `rows` that are made of what
they answered, and `keep`, the filters of synthetic rows. A stage sees the row's columns, the params, and by its name
the answer of every stage before it. Nothing else is in reach of a template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import resources

from curate.core.config import BadValue, Document, Path, load, parse, validate
from curate.core.digest import Plain
from curate.core.errors import ConfigError, nearest
from curate.steps.synthesize.recipe_model import Recipe
from curate.steps.synthesize.template import BadTemplate, Expression, Template

# What every template may use besides columns, params and stages.
FUNCTIONS = ("combine", "cut", "flat", "passages", "pick", "turns")
GIVEN = ("found", "item", "of", "sample", "shots", *FUNCTIONS)


def names() -> list[str]:
    """The recipes that come with Curate."""
    folder = resources.files("curate.steps.synthesize").joinpath("recipes")
    return sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml"))


def load_recipe(name: str, params: Mapping[str, Plain] | None = None) -> Recipe:
    """A recipe by its name, or by the path of a file, with params set.

    Raises:
        ConfigError: there is none, with its file and line where it is wrong; or a param that it does not have.
    """
    recipe = _parse(_document(name))
    return recipe if params is None else with_params(recipe, params)


def source(name: str) -> str:
    """The YAML of a recipe that comes with Curate."""
    return resources.files("curate.steps.synthesize").joinpath("recipes", f"{name}.yaml").read_text()


def _document(name: str) -> Document:
    if name.endswith((".yaml", ".yml")):
        return load(name)
    if name not in names():
        raise ConfigError(f"no recipe {name!r}; {nearest(name, names())}, or name a .yaml file of your own")
    return parse(source(name), f"{name}.yaml")


def _parse(document: Document) -> Recipe:
    data = dict(document.data)
    if isinstance(data.get("rows"), dict):
        data["rows"] = [data["rows"]]
    try:
        recipe = validate(Recipe, data, ())
        _check(recipe)
    except BadValue as error:
        raise document.locate(error) from None
    return recipe


def with_params(recipe: Recipe, params: Mapping[str, Plain]) -> Recipe:
    """A recipe with some of its params set.

    Raises:
        ConfigError: it has no such param, or one that must be set is not.
    """
    for name in params:
        if name not in recipe.params:
            raise ConfigError(f"recipe {recipe.name}: no param {name!r}; {nearest(name, recipe.params)}")
    found = {**recipe.params, **params}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise ConfigError(f"recipe {recipe.name}: the param {missing[0]!r} must be set, under `set:`")
    return recipe.model_copy(update={"params": found})


def _check(recipe: Recipe) -> None:
    """See that every name in a template is known where it stands, so that a mistake costs nothing."""
    known = {*recipe.needs, *recipe.optional, *recipe.params, *GIVEN}
    if not recipe.stages:
        raise BadValue(("stages",), "a recipe asks at least once")
    for i, stage in enumerate(recipe.stages):
        where: Path = ("stages", i)
        if stage.name in known or not stage.name.isidentifier():
            raise BadValue((*where, "name"), f"{stage.name!r} is taken, or is no name; choose another")
        asked = [each for each in (stage.prompt, stage.messages, stage.turns, stage.raw) if each is not None]
        if len(asked) != 1:
            raise BadValue(where, "a stage has one of prompt, messages, turns, raw")
        _check_all(stage.templates, stage.expressions, known, where)
        known.add(stage.name)
    for i, rows in enumerate(recipe.rows):
        if sum(each is not None for each in (rows.text, rows.messages, rows.turns)) != 1:
            raise BadValue(("rows", i), "a made row has one of `text:`, `messages:`, `turns:`")
        if (rows.text is None) != (recipe.kind == "conversations"):
            raise BadValue(("rows", i), f"the recipe makes {recipe.kind}; set `kind:`")
        _check_all(rows.templates, rows.expressions, known, ("rows", i))
    if recipe.rounds is not None:
        made = {"text", *recipe.columns}
        _check_all({f"columns.{k}": v for k, v in recipe.rounds.columns.items()}, {}, made, ("rounds",))
    if recipe.keep.one_of is not None:
        _check_all({}, {"values": recipe.keep.one_of.values}, known, ("keep", "one_of"))
    _check_all({}, recipe.keep.only, {*known, *recipe.columns, "made"}, ("keep", "only"))


def _check_all(templates: Mapping[str, str], expressions: Mapping[str, str], known: Iterable[str], where: Path) -> None:
    for key, text in templates.items():
        _check_names(Template, key, text, known, where)
    for key, text in expressions.items():
        _check_names(Expression, key, text, known, where)


def _check_names(
    kind: type[Template] | type[Expression], key: str, text: str, known: Iterable[str], where: Path
) -> None:
    path = (*where, *_parts(key))
    try:
        used = kind(text).names
    except BadTemplate as error:
        raise BadValue(path, str(error)) from None
    for name in sorted(used - set(known)):
        raise BadValue(path, f"no name {name!r} here; {nearest(name, known)}")


def _parts(key: str) -> Iterator[str | int]:
    for part in key.split("."):
        yield int(part) if part.isdigit() else part
