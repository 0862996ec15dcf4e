"""Strict YAML to plain values that know where they stand, checked against typed models.

    document = load("configs/pretrain.yaml")
    document.data["steps"]["docs"]
    document.where(("steps", "docs"))        # 'configs/pretrain.yaml:4'

Every mistake is a `ConfigError` with the file, the line, the path of the key, and what was expected.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo

from curate.core import files
from curate.core.digest import Plain
from curate.core.errors import ConfigError, nearest

Path: TypeAlias = "tuple[str | int, ...]"
# Marks a field that says what the work may use, and changes no result: it bears no identity.
RESOURCE = "resource"
M = TypeVar("M", bound=BaseModel)


class BadValue(ConfigError):
    """A wrong value, by its path in the document; becomes a `ConfigError` with a line."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{dotted(path)}: {message}" if path else message)
        self.path, self.message = path, message


class Model(BaseModel):
    """Base of every configuration model: unknown keys and infinite numbers are refused, values frozen, not coerced."""

    # What checks values is built with the first of them: a config names few of all models.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False, defer_build=True
    )


@dataclass(frozen=True)
class Document:
    """A configuration file: plain data, and the line of every key and item."""

    path: str
    data: dict[str, Plain]
    lines: Mapping[Path, int]

    def where(self, path: Path) -> str:
        """File and line of a value, or of the nearest thing that holds it."""
        while path not in self.lines and path:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"

    def locate(self, error: BadValue) -> ConfigError:
        """The error with its place in the file."""
        return ConfigError(f"{self.where(error.path)}: {error}")


def dotted(path: Path) -> str:
    """`("steps", "kept", "rules", 0)` as `steps.kept.rules[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def load(path: str) -> Document:
    """Read a YAML file of plain values: no tags, no duplicate keys, keys are strings.

    Raises:
        ConfigError: with file, line and column.
    """
    try:
        text = files.read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; name a YAML file") from None
    return parse(text, path)


def parse(text: str, path: str = "config") -> Document:
    """`load` for text that is at hand."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        raise ConfigError(f"{place}: is not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: holds no mapping; a pipeline begins with `name:` and `steps:`")
    lines: dict[Path, int] = {}
    data = _plain(node, (), lines, path)
    assert isinstance(data, dict)
    return Document(path, data, lines)


def _plain(node: yaml.Node, where: Path, lines: dict[Path, int], file: str) -> Plain:
    lines.setdefault(where, node.start_mark.line + 1)
    if len(lines) > 100_000 or len(where) > 50:
        raise ConfigError(f"{file}: its aliases unfold to too much; write it without them")
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in ("map", "seq", "null", "bool", "int", "float", "str", "timestamp"):
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: the tag !{kind.lstrip('!')} is not allowed here")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            place = f"{file}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise ConfigError(f"{place}: a key must be a word; put {key!r} in quotes")
            if key in result:
                raise ConfigError(f"{place}: {dotted((*where, key))} is given twice; remove one")
            lines[(*where, key)] = key_node.start_mark.line + 1
            result[key] = _plain(value_node, (*where, key), lines, file)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*where, i), lines, file) for i, item in enumerate(node.value)]
    if kind == "timestamp":
        return str(node.value)
    # A constructor of its own for each scalar: PyYAML has no other way from a node to a safe value.
    value: Plain = yaml.SafeLoader("").construct_object(node)
    return value


def check_whole_numbers(value: Plain, path: Path = ()) -> None:
    """See that every whole number has 64 bits at most, as one that is longer has no identity.

    Raises:
        BadValue: with the path of one that is longer.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            check_whole_numbers(each, (*path, key))
    elif isinstance(value, list):
        for i, each in enumerate(value):
            check_whole_numbers(each, (*path, i))
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise BadValue(path, "a number beyond 64 bits; give a smaller one")


def validate(model: type[M], value: Plain, path: Path) -> M:
    """A typed model from plain values.

    Raises:
        BadValue: the first mistake, with the path of the key, what was expected and the nearest valid name.
    """
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadValue(path, f"expected keys and values, found {_show(value)}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # Unknown keys first: a misspelt key is the cause of a missing one. Wrong types last: of the alternatives of a
        # union, one of the right type says more.
        first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", e["type"].endswith("_type")))
        where = (*path, *_real_keys(first["loc"], value))
        if first["type"] == "extra_forbidden":
            fields = _model_at(model, first["loc"]).model_fields
            names = [field.alias or name for name, field in fields.items()]
            raise BadValue(where, f"no such key; {nearest(str(first['loc'][-1]), names)}") from None
        if first["type"] == "missing":
            raise BadValue(path, f"the key {first['loc'][-1]!r} is missing") from None
        if first["type"] == "value_error":
            raise BadValue(where, str(first["ctx"]["error"])) from None
        message = first["msg"][0].lower() + first["msg"][1:]
        raise BadValue(where, f"{message}, found {_show(first['input'])}") from None


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel]:
    """The model that a pydantic location lies in: that of its last key, which may be nested."""
    for part in loc[:-1]:
        fields = (field for name, field in model.model_fields.items() if part in (name, field.alias))
        model = next((inner for field in fields for inner in _models_in(field.annotation)), model)
    return model


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arm in get_args(annotation):
        yield from _models_in(arm)


def _real_keys(loc: Sequence[str | int], value: Plain) -> Path:
    """The part of a pydantic location that is keys of the document, not names of alternatives of a union."""
    keys: list[str | int] = []
    for part in loc:
        if isinstance(value, dict) and isinstance(part, str):
            if part not in value and keys:
                continue
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        elif keys:
            continue
        keys.append(part)
    return tuple(keys)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@functools.cache
def model_of(factory: Callable[..., object]) -> type[BaseModel]:
    """The configuration model of a factory: its keyword arguments, their types and defaults.

    A newcomer who reads the signature has read the schema.
    """
    hints = get_type_hints(factory, include_extras=True)
    fields: dict[str, tuple[object, object]] = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    name = getattr(factory, "__name__", "factory")
    model: type[BaseModel] = create_model(name, __base__=Model, **fields)  # type: ignore[call-overload]  # made of a signature
    return model


def model_files(model: BaseModel) -> dict[str, str]:
    """The fields of a model that name model files, and their values; those of a list as `model[0]`, `model[1]`."""
    return {
        f"{name}[{i}]" if isinstance(value, list) else name: str(each)
        for name, field in type(model).model_fields.items()
        if _is_model_file(field) and (value := getattr(model, name)) is not None
        for i, each in enumerate(value if isinstance(value, list) else [value])
    }


def with_models(model: BaseModel, models: Mapping[str, str]) -> dict[str, object]:
    """The fields of a model, with the files of `models` (by the keys of `model_files`) in place of what they name."""
    fields: dict[str, object] = dict(model)
    for key in model_files(model):
        name = field_of(key)
        named = fields[name]
        fields[name] = [models[f"{name}[{i}]"] for i in range(len(named))] if isinstance(named, list) else models[name]
    return fields


def field_of(key: str) -> str:
    """The field of a key of `model_files`, or of a role: `model` of `model[1]`."""
    return key.split("[")[0]


def resources(model: BaseModel) -> set[str]:
    """The fields of a model that bear no identity."""
    return {name for name, field in type(model).model_fields.items() if RESOURCE in field.metadata}


def _is_model_file(field: FieldInfo) -> bool:
    if files.MODEL_FILE in field.metadata:
        return True
    if get_origin(field.annotation) in (Union, types.UnionType):
        arms = [inner for arm in get_args(field.annotation) for inner in (arm, *get_args(arm))]
        return any(files.MODEL_FILE in getattr(arm, "__metadata__", ()) for arm in arms)
    return False
