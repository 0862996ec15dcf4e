"""What happens to a text before an n-gram model sees it: a normaliser and a tokeniser, by name.

Perplexities compare only when the text was prepared as the model's training text was. So a model
carries the names of both in a JSON file beside it (`<model>.json`), written by training and read
by the scorer.

    form = TextForm("ccnet_spaced", "punct")
    form.tokens("Pâté, 1984!")                  # ['pate', ',', '0000', '!']

Normalisers:
    `ccnet`         CCNet's (Wenzek et al. 2019): strip, lower case, NFD without non-spacing marks,
                    every digit `0`, typographic punctuation to ASCII, control characters deleted.
                    Newlines are control characters: the words around one run together, which
                    SentencePiece, that CCNet uses, can live with.
    `ccnet_spaced`  the same, but a control character that is white space becomes a space. For words.
    `none`          the text as it is.

Tokenisers:
    `whitespace`    runs of anything but Unicode white space.
    `punct`         the same after setting each punctuation mark and symbol apart.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import orjson

from curate.errors import ConfigError, ModelError, nearest
from curate.files import exists, read_bytes

NormaliserName = Literal["ccnet", "ccnet_spaced", "none"]
TokeniserName = Literal["whitespace", "punct"]

# Words that an n-gram model keeps for itself; in a text they count as white space (lmplz --skip_symbols).
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")

# The punctuation map of CCNet. Its entry for the full-width digit one is left out: digits are 0 by then.
_PUNCTUATION = {
    **{"，": ",", "、": ",", "。": ".", "．": ". ", "…": "...", "：": ":", "∶": ":", "；": ";"},
    **{"？": "?", "！": "!", "％": "%", "～": "~", "’": "'", "´": "'"},
    **{"„": '"', "”": '"', "“": '"', "«": '"', "»": '"', "」": '"', "「": '"', "《": '"', "》": '"'},
    **{"（": "(", "）": ")", "【": "[", "】": "]", "〈": "<", "〉": ">"},
    **{"–": "-", "—": " - ", "━": "-", "►": "-"},
}


class _Table(dict[int, str]):
    """A table for `str.translate` that works out each character when it is first met."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        found = self[code] = self._rule(chr(code))
        return found


def _ccnet_character(character: str) -> str:
    if unicodedata.category(character) == "Mn" or character < " " or "\x7f" <= character < "\xa0":
        return ""
    if character.isdecimal():
        return "0"
    return _PUNCTUATION.get(character, character)


def _ccnet_spaced_character(character: str) -> str:
    return " " if character.isspace() else _ccnet_character(character)


def _set_apart(character: str) -> str:
    return f" {character} " if unicodedata.category(character)[0] in "PS" else character


_CCNET = _Table(_ccnet_character)
_CCNET_SPACED = _Table(_ccnet_spaced_character)
_PUNCT = _Table(_set_apart)


def ccnet(text: str) -> str:
    """CCNet's normaliser: one line, lower case, no accents, digits as 0, ASCII punctuation."""
    return _decomposed(text).translate(_CCNET)


def ccnet_spaced(text: str) -> str:
    """CCNet's normaliser with newlines and tabs as spaces, so that words stay apart."""
    return _decomposed(text).translate(_CCNET_SPACED)


def _decomposed(text: str) -> str:
    text = text.strip().lower()
    return text if text.isascii() else unicodedata.normalize("NFD", text)


def _unchanged(text: str) -> str:
    return text


NORMALISERS: dict[str, Callable[[str], str]] = {
    "ccnet": ccnet,
    "ccnet_spaced": ccnet_spaced,
    "none": _unchanged,
}


def _whitespace(text: str) -> list[str]:
    # The query library ends a word at a NUL, so a NUL is white space here.
    words = text.replace("\0", " ").split()
    if any(special in text for special in SPECIAL_WORDS):
        words = [word for word in words if word not in SPECIAL_WORDS]
    return words


def _punct(text: str) -> list[str]:
    return _whitespace(text.translate(_PUNCT))


TOKENISERS: dict[str, Callable[[str], list[str]]] = {"whitespace": _whitespace, "punct": _punct}


@dataclass(frozen=True)
class TextForm:
    """The names of a normaliser and a tokeniser, and what they do together.

    Raises:
        ConfigError: no such normaliser or tokeniser.
    """

    normaliser: str
    tokeniser: str

    def __post_init__(self) -> None:
        for what, name, known in (
            ("normaliser", self.normaliser, NORMALISERS),
            ("tokeniser", self.tokeniser, TOKENISERS),
        ):
            if name not in known:
                raise ConfigError(f"no {what} {name!r}; {nearest(name, known)}")

    def tokens(self, text: str) -> list[str]:
        """The words of a text; none holds white space, and none is `<s>`, `</s>` or `<unk>`."""
        return TOKENISERS[self.tokeniser](NORMALISERS[self.normaliser](text))


def card_path(model: str) -> str:
    """Where a model's metadata lies: `<model>.json`."""
    return f"{model}.json"


def read_form(model: str) -> TextForm | None:
    """The text form that is named in the JSON beside a model; None where there is no such file.

    Raises:
        ModelError: the file is there but is not JSON with a known normaliser and tokeniser.
    """
    path = card_path(model)
    if not exists(path):
        return None
    try:
        card = orjson.loads(read_bytes(path))
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path}: not JSON ({error}); write it again or delete it") from None
    names = card if isinstance(card, dict) else {}
    normaliser, tokeniser = names.get("normaliser"), names.get("tokeniser")
    if not isinstance(normaliser, str) or not isinstance(tokeniser, str):
        wanted = f"a normaliser ({', '.join(get_args(NormaliserName))})"
        wanted += f" and a tokeniser ({', '.join(get_args(TokeniserName))})"
        raise ModelError(f"{path}: must name {wanted}; add them or delete the file")
    try:
        return TextForm(normaliser, tokeniser)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None
