r"""Reading answers: from what a model wrote to what a recipe asked for.

    parse = Answer(items=Items()).parser()
    parse("1. One way to say it\n2. Another way")         # ["One way to say it", "Another way"]

An answer of another form is rejected with a reason; nothing is guessed. The forms are `text`, `json` of a schema,
`tags`, `list` and `pairs`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import jsonschema
import orjson
from pydantic import Field, model_validator

from curate.core.config import Model
from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.generate.request import RUNAWAY, Completion
from curate.steps.verify.form import runaway, schema_checker
from curate.steps.verify.refusal import is_refusal

Parser: TypeAlias = "Callable[[str], Plain]"

_FENCE = re.compile(r"^[ \t]*```[a-zA-Z]*[ \t]*\n(.*?)\n?[ \t]*```[ \t]*$", re.S | re.M)
# "1. ", "(2) ", "**3.** ", "4: "
_NUMBERED = re.compile(r"^\s*(?:\*\*)?\(?\d{1,4}[.):]\)?(?:\*\*)?\s+(.*)$")
_BULLETED = re.compile(r"^\s*[-*\u2022\u2013]\s+(.*)$")
_QUOTES = ('""', "\u201c\u201d", "\u201e\u201c", "\u00ab\u00bb")


class Rejected(Exception):
    """An answer, or a row made of answers, that is not taken; `reason` is a word to count."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason, self.message = reason, message


class Text(Model):
    """The whole answer.

    Attributes:
        after: what the text stands behind; an answer without it is rejected.
        before: what ends the text, if it is there.
    """

    after: str | None = None
    before: str | None = None


class Items(Model):
    """Numbered lines, or lines with bullets; of an item its further lines too.

    Attributes:
        least: how many there must be.
    """

    least: int = 1


class Pairs(Model):
    """Lines that begin with a name and a colon, in the order given, again and again.

    Attributes:
        names: as in `Question:` and `Answer:`.
        least: how many pairs there must be.
    """

    names: list[str]
    least: int = 1


class Answer(Model):
    """The form of an answer: one of these keys.

    Attributes:
        text: the whole answer.
        json_schema: `json:` in a recipe, a JSON schema.
        tags: names of sections, `<name>...</name>`; one object, or several where the first name comes again.
        items: `list:` in a recipe, lines with numbers or bullets.
        pairs: labelled lines.
        words: beside one of them: how many the answer must have.
    """

    text: Text | None = None
    json_schema: dict[str, Plain] | None = Field(None, alias="json")
    tags: list[str] | None = None
    items: Items | None = Field(None, alias="list")
    pairs: Pairs | None = None
    words: int = 0

    @model_validator(mode="after")
    def _one(self) -> Answer:
        given = [name for name in type(self).model_fields if name != "words" and getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("expected one of text, json, tags, list, pairs")
        if self.json_schema is not None:
            try:
                schema_checker(self.json_schema)
            except ConfigError as error:
                raise ValueError(f"json: {error}") from None
        return self

    def parser(self) -> Parser:
        """The function that reads an answer; it raises `Rejected`."""
        return functools.partial(_long_enough, self._form(), self.words) if self.words else self._form()

    def _form(self) -> Parser:
        if self.json_schema is not None:
            return functools.partial(_json, schema_checker(self.json_schema))
        if self.tags is not None:
            return functools.partial(_tags, self.tags)
        if self.items is not None:
            return functools.partial(_list, self.items.least)
        if self.pairs is not None:
            return functools.partial(_pairs, self.pairs)
        return functools.partial(_text, cast(Text, self.text))

    @property
    def is_text(self) -> bool:
        """Whether the answer is taken as it is."""
        return self.text is not None


def check(completion: Completion, *, whole: bool) -> str:
    """The text of a completion that may be parsed.

    Args:
        completion: the answer.
        whole: whether an answer that the limit of tokens cut off is rejected, too.

    Raises:
        Rejected: it is empty, a refusal, runs away, or was cut off.
    """
    text = completion.text.strip()
    if completion.refusal or completion.finish == "content_filter":
        raise Rejected("refusal", completion.refusal[:200])
    if completion.finish == RUNAWAY or runaway(completion.text):
        raise Rejected("runaway", f"{len(completion.text):,} characters that repeat themselves")
    if not text:
        raise Rejected("empty")
    if is_refusal(text):
        raise Rejected("refusal", text[:200])
    if whole and completion.finish == "length":
        raise Rejected("cut-off", f"after {completion.usage.completion:,} tokens")
    return text


def _long_enough(parse: Parser, words: int, text: str) -> Plain:
    if len(text.split()) < words:
        raise Rejected("too-short", f"{len(text.split())} words; {words} are needed")
    return parse(text)


def _unfenced(text: str) -> str:
    """What stands in the one block between fences, if there is one."""
    blocks = _FENCE.findall(text)
    return str(blocks[0]) if len(blocks) == 1 else text


def _text(form: Text, text: str) -> Plain:
    if form.after is not None:
        _, found, text = text.partition(form.after)
        if not found:
            raise Rejected("form", f"has no {form.after!r}")
    if form.before is not None:
        text = text.partition(form.before)[0]
    if not text.strip():
        raise Rejected("empty")
    return text.strip()


def _json(validator: jsonschema.Draft202012Validator, text: str) -> Plain:
    try:
        value: Plain = orjson.loads(_unfenced(text))
    except orjson.JSONDecodeError as error:
        raise Rejected("not-json", str(error)) from None
    problem = next(iter(validator.iter_errors(value)), None)
    if problem is not None:
        where = "".join(f"[{part!r}]" for part in problem.absolute_path)
        raise Rejected("schema", f"{where} {problem.message}"[:200].strip())
    return value


def _tags(names: list[str], text: str) -> Plain:
    found: list[dict[str, Plain]] = []
    for match in re.finditer(rf"<({'|'.join(map(re.escape, names))})>(.*?)</\1>", text, re.S):
        if match[1] == names[0] or not found:
            found.append({})
        found[-1].setdefault(match[1], match[2].strip())
    for each in found:
        # A form that is given back as it was asked for, <name>...</name>, says nothing.
        missing = [name for name in names if not any(map(str.isalnum, str(each.get(name, ""))))]
        if missing:
            raise Rejected("form", f"has no <{missing[0]}>")
    if not found:
        raise Rejected("form", f"has no <{names[0]}>")
    return cast(Plain, found[0] if len(found) == 1 else found)


def _list(least: int, text: str) -> Plain:
    items: list[list[str]] = []
    lines = _unfenced(text).splitlines()
    # Bullets below a number are part of its item.
    form = _NUMBERED if any(map(_NUMBERED.match, lines)) else _BULLETED
    for line in lines:
        match = form.match(line)
        if match:
            items.append([match[1]])
        elif items and line.strip():
            items[-1].append(line.strip())
        elif not line.strip() and items:
            items[-1].append("")
    # What follows an item after an empty line is a remark about the list.
    texts = [_unquoted("\n".join(each).partition("\n\n")[0].strip()) for each in items]
    texts = [each for each in texts if each]
    if len(texts) < least:
        raise Rejected("form", f"a list of {len(texts)} items; {least} are needed")
    return cast(Plain, texts)


def _unquoted(text: str) -> str:
    """A text without the quotation marks that hold the whole of it."""
    inner = text[1:-1]
    around = len(text) > 2 and text[0] + text[-1] in _QUOTES and not {text[0], text[-1]} & set(inner)
    return inner.strip() if around else text


def _pairs(form: Pairs, text: str) -> Plain:
    names = {name.lower(): name for name in form.names}
    begins = re.compile(
        rf"^[\s>*#-]*(?:\d{{1,4}}[.)]\s*)?\**({'|'.join(map(re.escape, form.names))})[\s*]*\d*[\s*]*:\**\s*(.*)$", re.I
    )
    found: list[dict[str, str]] = []
    name = ""
    for line in _unfenced(text).splitlines():
        match = begins.match(line)
        if match:
            name = names[match[1].lower()]
            if name == form.names[0]:
                found.append({})
            if found:
                found[-1][name] = match[2].strip()
        elif found and name and line.strip():
            found[-1][name] = f"{found[-1][name]}\n{line.strip()}".strip()
    whole: list[Mapping[str, str]] = [each for each in found if all(each.get(name) for name in form.names)]
    if len(whole) < form.least:
        raise Rejected("form", f"{len(whole)} whole pairs; {form.least} are needed")
    return cast(Plain, whole)
