"""What a training of a language model leaves: `model/`, a card, and the loss curve as a table and a picture.

card = write_trained(out_dir, model, tokenizer, {"kind": "causal_lm"}, rows)
card["model"]                                # the hash of the model's folder
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Protocol

import orjson

from curate.core.digest import Plain
from curate.core.files import atomic_output, join, list_inputs
from curate.models.lm.checkpoints import model_hash
from curate.models.lm.folder import Tokenizer, quietly
from curate.models.lm.loss_curve import Row, curve_csv, curve_svg

MODEL, CARD, CSV, SVG = "model", "model.json", "loss.csv", "loss.svg"


class Saved(Protocol):
    """A model that can be written."""

    def save_pretrained(self, folder: str) -> object:
        """Write config and weights."""
        ...


def write_trained(
    out_dir: str, model: Saved, tokenizer: Tokenizer, card: Mapping[str, Plain], rows: Sequence[Row]
) -> dict[str, Plain]:
    """Write everything, the card last and with the curve and the model's hash; the card.

    Args:
        out_dir: a folder, local or remote.
        model: on the CPU.
        tokenizer: its own.
        card: what is known of the training.
        rows: of the loss curve.
    """
    with tempfile.TemporaryDirectory() as folder, quietly():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for each in list_inputs(folder):
            with open(each.url, "rb") as stream, atomic_output(join(out_dir, MODEL, each.name)) as out:
                out.write(stream.read())
    whole: dict[str, Plain] = {**card, "model": model_hash(join(out_dir, MODEL)), "curve": [dict(row) for row in rows]}
    for name, content in ((CSV, curve_csv(rows)), (SVG, curve_svg(rows))):
        with atomic_output(join(out_dir, name)) as out:
            out.write(content.encode())
    with atomic_output(join(out_dir, CARD)) as out:
        out.write(orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n")
    return whole
