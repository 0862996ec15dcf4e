"""Personal data that has a form: e-mail and IP addresses, and on request phone, account and card numbers.

    clean = pii(email=True, ip=True, phone=True)
    text, columns = clean(TextBatch.of(["Write to jo@example.org or call +49 30 1234567."]))
    text[0].as_py()        # 'Write to <email> or call <phone>.'
    columns["emails"]      # [1]

Each is replaced by a fixed token: `<email>`, `<ip>`, `<phone>`, `<iban>`, `<card>`. What counts as one is in
`curate.steps.clean.identifiers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.steps.clean import identifiers
from curate.steps.clean.cleaner import Cleaner, Columns
from curate.text.batch import TextBatch


@dataclass(frozen=True, slots=True)
class _Kind:
    """The name of its column, what a text must hold to be looked at, and the edit."""

    column: str
    gate: str
    replace: Callable[[str], tuple[str, int]]


_EMAIL = _Kind("emails", identifiers.EMAIL_GATE, identifiers.replace_emails)
_IBAN = _Kind("ibans", identifiers.IBAN_GATE, identifiers.replace_ibans)
_CARD = _Kind("cards", identifiers.CARD_GATE, identifiers.replace_cards)
_IP = _Kind("ips", identifiers.IP_GATE, identifiers.replace_ips)
_PHONE = _Kind("phones", identifiers.PHONE_GATE, identifiers.replace_phones)


def pii(*, email: bool = True, ip: bool = True, phone: bool = False, iban: bool = False, card: bool = False) -> Cleaner:
    """Replace personal data by tokens, and count the replacements.

    `email`: addresses with a top-level domain. `ip`: public IPv4 and IPv6 addresses; private and reserved
    ones, versions and heading numbers stay. `phone`: numbers with a country code, of the North American
    form, or after "Tel." and the like. `iban`: account numbers with valid check digits (ISO 13616). `card`:
    numbers of the card networks that pass Luhn's check.

    Columns, int32, for the kinds asked for: `emails`, `ips`, `phones`, `ibans`, `cards`.
    """
    # In this order: an e-mail address may hold digits, and an account number those of a card.
    asked = [(_EMAIL, email), (_IBAN, iban), (_CARD, card), (_IP, ip), (_PHONE, phone)]
    kinds = [kind for kind, on in asked if on]

    def clean(batch: TextBatch) -> tuple[pa.Array, Columns]:
        array = _array(batch, batch.data, batch.offsets)
        counts = np.zeros((len(batch), len(kinds)), dtype=np.int32)
        gates = np.zeros((len(batch), len(kinds)), dtype=np.bool_)
        for at, kind in enumerate(kinds):
            gates[:, at] = pc.fill_null(pc.match_substring_regex(array, kind.gate), False)
        edits: dict[int, bytes] = {}
        for row in np.flatnonzero(gates.any(axis=1)).tolist():
            before = batch.data[batch.offsets[row] : batch.offsets[row + 1]].tobytes()
            passed = [kind for kind, passes in zip(kinds, gates[row], strict=True) if passes]
            after, counts[row, gates[row]] = _replace_all(before.decode("utf-8", "surrogateescape"), passed)
            if counts[row].any():
                edits[row] = after.encode("utf-8", "surrogateescape")
        columns = {kind.column: pa.array(counts[:, at]) for at, kind in enumerate(kinds)}
        return (_with_edits(batch, edits) if edits else array), columns

    return clean


def _replace_all(text: str, kinds: list[_Kind]) -> tuple[str, list[int]]:
    """Apply the kinds until nothing is found: a token may uncover what the replaced text had obscured.

    It ends, because each replacement takes characters that no token has. It needs no new look at the gates,
    because no gate matches across a token.
    """
    totals = [0] * len(kinds)
    while True:
        counts = []
        for kind in kinds:
            text, count = kind.replace(text)
            counts.append(count)
        if not any(counts):
            return text, totals
        totals = [total + count for total, count in zip(totals, counts, strict=True)]


def _with_edits(batch: TextBatch, edits: dict[int, bytes]) -> pa.Array:
    """The texts of the batch, with some rows replaced; the bytes between those are copied at once."""
    lengths = np.diff(batch.offsets)
    data = memoryview(batch.data.data)
    pieces: list[bytes | memoryview] = []
    done = int(batch.offsets[0])
    for row, edit in edits.items():
        pieces += [data[done : batch.offsets[row]], edit]
        done = int(batch.offsets[row + 1])
        lengths[row] = len(edit)
    pieces.append(data[done : batch.offsets[-1]])
    offsets = np.zeros(len(batch) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return _array(batch, np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets)


def _array(batch: TextBatch, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> pa.Array:
    """A large_string column of these bytes, null where the batch is."""
    valid = None if batch.valid.all() else pa.array(batch.valid).buffers()[1]
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(batch), buffers)
