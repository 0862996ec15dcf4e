"""What happens to a text before an n-gram model sees it: a normaliser and a tokeniser, by name.

Perplexities compare only when the text was prepared as the model's training text was. So a model
carries the names of both in a JSON file beside it (`<model>.json`), written by training and read
by the scorer. These functions say what a text becomes; `curate.models.ngram.words` does the same to a batch, in
native code.

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
    `sentencepiece` the pieces of a SentencePiece model (Kudo and Richardson 2018), which the form names; after
                    `ccnet` they are the tokens of CCNet's models.
"""

from __future__ import annotations

import functools
import importlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, get_args

import orjson

from curate.core.errors import ConfigError, ModelError, nearest
from curate.core.files import content_hash, exists, read_bytes

NormaliserName = Literal["ccnet", "ccnet_spaced", "none"]
TokeniserName = Literal["whitespace", "punct", "sentencepiece"]
SENTENCEPIECE = "sentencepiece"

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


# What is done to a normalised text before it is cut at white space.
_TOKENISERS: dict[str, Callable[[str], str]] = {"whitespace": _unchanged, "punct": lambda text: text.translate(_PUNCT)}


class _Pieces(Protocol):
    """What is used of `sentencepiece.SentencePieceProcessor`."""

    def encode(self, texts: list[str], *, out_type: type[str], num_threads: int) -> list[list[str]]: ...


@functools.cache
def _pieces(path: str) -> _Pieces:
    try:
        library = importlib.import_module("sentencepiece")
    except ImportError:
        raise ModelError(
            "the tokeniser sentencepiece needs a package: pip install curate-data[sentencepiece]"
        ) from None
    processor = library.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(read_bytes(path))
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: not a SentencePiece model ({reason}); get or train it again") from None
    return cast(_Pieces, processor)


@dataclass(frozen=True)
class TextForm:
    """The names of a normaliser and a tokeniser, and what they do together.

    Attributes:
        normaliser, tokeniser: see above.
        sentencepiece: the hash of the model file of that tokeniser, 32 hex digits; empty for another.
        path: that file. It is not part of what a form is: the same file may lie elsewhere.

    Raises:
        ConfigError: no such normaliser or tokeniser.
    """

    normaliser: str
    tokeniser: str
    sentencepiece: str = ""
    path: str = field(default="", compare=False)

    @classmethod
    def of(cls, normaliser: str, tokeniser: str, sentencepiece: str | None = None) -> TextForm:
        """The form with a SentencePiece model file, which is there exactly for the tokeniser `sentencepiece`.

        Raises:
            ConfigError: the file is missing, or named for another tokeniser.
            ModelError: the file is not a SentencePiece model, or the package is missing.
        """
        check_sentencepiece(tokeniser, sentencepiece)
        if sentencepiece is None:
            return cls(normaliser, tokeniser)
        _pieces(sentencepiece)
        return cls(normaliser, tokeniser, content_hash(sentencepiece), sentencepiece)

    def __post_init__(self) -> None:
        for what, name, known in (
            ("normaliser", self.normaliser, NORMALISERS),
            ("tokeniser", self.tokeniser, [*_TOKENISERS, SENTENCEPIECE]),
        ):
            if name not in known:
                raise ConfigError(f"no {what} {name!r}; {nearest(name, known)}")

    def names(self) -> dict[str, str]:
        """What a model's metadata says of it."""
        names = {"normaliser": self.normaliser, "tokeniser": self.tokeniser}
        return names | ({"sentencepiece": self.sentencepiece} if self.tokeniser == SENTENCEPIECE else {})

    def tokens(self, text: str) -> list[str]:
        """The words of a text; none holds white space, and none is `<s>`, `</s>` or `<unk>`."""
        return self.tokens_of([text])[0]

    def tokens_of(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text."""
        normal = map(NORMALISERS[self.normaliser], texts)
        if self.tokeniser != SENTENCEPIECE:
            return [_whitespace(_TOKENISERS[self.tokeniser](text)) for text in normal]
        pieces = _pieces(self.path).encode(list(normal), out_type=str, num_threads=1)
        return [_whitespace(" ".join(each)) for each in pieces]

    def character(self, character: str) -> str:
        """What a character becomes in the middle of a text, if its neighbours do not matter; a space ends a word."""
        normal = NORMALISERS[self.normaliser](f"x{character}x")[1:-1]
        return "".join(" " if c.isspace() or c == "\0" else c for c in _TOKENISERS[self.tokeniser](normal))


def check_sentencepiece(tokeniser: str, sentencepiece: str | None) -> None:
    """Refuse a SentencePiece model that is missing or that the tokeniser has no use for.

    Raises:
        ConfigError: one of the two.
    """
    if tokeniser == SENTENCEPIECE and sentencepiece is None:
        raise ConfigError("the tokeniser sentencepiece needs its model; set `sentencepiece:` to the file")
    if tokeniser != SENTENCEPIECE and sentencepiece is not None:
        raise ConfigError(f"the tokeniser {tokeniser} takes no `sentencepiece:`; leave it out")


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
    card = card if isinstance(card, dict) else {}
    names = {name: card.get(name) for name in ("normaliser", "tokeniser")}
    if names["tokeniser"] == SENTENCEPIECE:
        names["sentencepiece"] = card.get("sentencepiece")
    if not all(isinstance(name, str) for name in names.values()):
        wanted = f"a normaliser ({', '.join(get_args(NormaliserName))})"
        wanted += f" and a tokeniser ({', '.join(get_args(TokeniserName))})"
        wanted += ", and with sentencepiece the hash of its model"
        raise ModelError(f"{path}: must name {wanted}; add them or delete the file")
    try:
        return TextForm(**cast(dict[str, str], names))
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None
