r"""Templates of prompts: Jinja2 in a sandbox, with nothing in reach but the row.

    template = Template("Reword {{ count }} times:\n{{ text }}")
    template.names                                     # {"count", "text"}
    template.render({"count": 3, "text": "{{ no template }}"})

What a row holds is data: braces in it stay braces. A name that is not there is an error, not an empty string.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jinja2
from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from curate.core.digest import Plain

# A prompt beyond it is a mistake in a template, or a document that should be cut before.
MOST = 2_000_000


# What a template may run into on a row; a macro may call itself for ever.
_FAILS = (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError)


class BadTemplate(ValueError):
    """A template that is no template, with the place of the mistake."""


class CannotRender(Exception):
    """A template that fails on a row."""


# What a few letters could make as large as the memory, and what draws at random.
_NO_FILTERS = ("center", "format", "indent", "pprint", "random")
_NO_METHODS = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})


class _Sandbox(ImmutableSandboxedEnvironment):
    # A product may be as large as the memory, and so may a padded number; no prompt needs one.
    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
        if operator == "**":
            raise SecurityError("'**' is not allowed here")
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError(f"{operator!r} is for numbers here")
        return left * right if operator == "*" else left % right

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        return attr not in _NO_METHODS and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: object) -> None:
        return None  # there is no `format` to make safe


def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=StrictUndefined, keep_trailing_newline=False, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    for name in _NO_FILTERS:
        del environment.filters[name]
    return environment


_ENVIRONMENT = _environment()


@dataclass(frozen=True)
class Template:
    """A template; compiled when it is first rendered in a process.

    Raises:
        BadTemplate: the text is no template.
    """

    text: str
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        try:
            names = _names(self.text)
        except TemplateError as error:
            raise BadTemplate(f"is no template: {error}") from None
        object.__setattr__(self, "names", names)

    def render(self, row: Mapping[str, object]) -> str:
        """The text for a row.

        Raises:
            CannotRender: a name is not there, something is not allowed, or the text is too long.
        """
        try:
            text = _template(self.text).render(row)
        except _FAILS as error:
            raise CannotRender(" ".join(str(error).split())[:200]) from None
        if len(text) > MOST:
            raise CannotRender(f"makes a text of {len(text):,} characters; {MOST:,} is the most")
        return text


@dataclass(frozen=True)
class Expression:
    """What stands after `when:` and `each:`: a Jinja expression, whose value is a plain one.

    Raises:
        BadTemplate: the text is no expression.
    """

    text: str
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        try:
            names = _names("{{ " + self.text + " }}")
            _compiled(self.text)
        except TemplateError as error:
            raise BadTemplate(f"is no expression: {error}") from None
        object.__setattr__(self, "names", names)

    def value(self, row: Mapping[str, object]) -> object:
        """The value for a row.

        Raises:
            CannotRender: a name is not there, or something is not allowed.
        """
        try:
            value = _compiled(self.text)(row)
            _see_defined(value)
            return value
        except _FAILS as error:
            raise CannotRender(" ".join(str(error).split())[:200]) from None


@functools.cache
def _names(text: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))


@functools.cache
def _template(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


@functools.cache
def _compiled(text: str) -> Callable[[Mapping[str, object]], object]:
    compiled = _ENVIRONMENT.compile_expression(text, undefined_to_none=False)
    return lambda row: compiled(**row)


def _see_defined(value: object) -> None:
    """Fail on a name that is not there, wherever it stands in a value."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # which raises
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            _see_defined(each)


def plain(value: object) -> Plain:
    """A value of a row or of an answer as what JSON can say."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
