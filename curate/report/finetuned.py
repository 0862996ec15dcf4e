"""What a `finetune` step made: the model that it began with, what learnt, from which rows, and its epochs.

facts, tables = finetuned(card, dataset, {"d3c1...": "proxy"})
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import orjson

from curate.core import files
from curate.core.dataset import Dataset
from curate.report.card import Bar, CardValues, Described, Table, at, mapping
from curate.report.words import number

_CHECKPOINT = re.compile(r"model/checkpoints/epoch-\d+/checkpoint\.json")
_ENDS = 10  # epochs shown at each end


def finetuned(card: CardValues, dataset: Dataset, makers: Mapping[str, str]) -> Described:
    """The figures and tables of a tuned model.

    Args:
        card: of the model.
        dataset: of the step, for its checkpoints.
        makers: the steps that trained a model, by its hash.
    """
    settings, held, learnt = mapping(card, "settings"), mapping(card, "held_out"), mapping(card, "learnt")
    lora = mapping(settings, "lora")
    base = str(card.get("base") or "–")
    facts = [
        ("base model", makers.get(base, base[:12])),
        ("what learnt", f"LoRA on {at(lora, 'targets')}" if lora else "every parameter"),
        *((f"LoRA {each}", at(lora, each)) for each in ("rank", "alpha", "dropout") if lora),
        ("parameters learnt", at(card, "trained")),
        ("parameters in all", at(card, "parameters")),
        ("steps", at(learnt, "steps")),
        ("tokens learnt", at(learnt, "tokens")),
        ("training loss", at(learnt, "loss")),
    ]
    if held.get("conversations"):
        facts += [("held-out loss before", at(held, "loss_before")), ("held-out loss after", at(held, "loss"))]
    return facts, [_conversations(card, held), _epochs(dataset)]


def _conversations(card: CardValues, held: CardValues) -> Table:
    """What became of the conversations that were kept for the training."""
    data = mapping(card, "data")
    left = mapping(data, "left_out")
    left_out = {f"left out: {why}": _count(left, why) for why in left}
    measured = _count(held, "conversations")
    every = _count(data, "conversations")
    counts = {"learnt": every - measured - sum(left_out.values()), "held out": measured, **left_out}
    rows = [
        (name, Bar(0, 100 * count / max(every, 1), "dropped" if name in left_out else "kept"), number(count))
        for name, count in counts.items()
        if count
    ]
    if cut := _count(data, "cut"):
        rows.append(("of them cut to the context", Bar(0, 100 * cut / max(every, 1), "rest"), number(cut)))
    return Table("Conversations", ("", "", "conversations"), tuple(rows))


def _epochs(dataset: Dataset) -> Table:
    """The mean learning rate of every epoch, which is its weight where gradients are compared."""
    found = list(_checkpoints(dataset))
    most = max((rate for _, _, rate in found), default=0.0) or 1.0
    rows: list[tuple[str | Bar, ...]] = [
        (str(epoch), Bar(0, 100 * rate / most, "kept"), number(rate), number(step)) for epoch, step, rate in found
    ]
    if len(rows) > 2 * _ENDS:
        rows[_ENDS:-_ENDS] = [(f"{len(rows) - 2 * _ENDS:,} between", "", "", "")]
    return Table("Epochs", ("epoch", "", "mean learning rate", "steps so far"), tuple(rows))


def _checkpoints(dataset: Dataset) -> Iterator[tuple[int, int, float]]:
    """Epoch, steps so far and mean rate of each checkpoint, in order."""
    names = (name for name in dataset.manifest.files if _CHECKPOINT.fullmatch(name))
    said = [orjson.loads(files.read_bytes(files.join(dataset.folder, name))) for name in names]
    for each in sorted(said, key=lambda each: int(each["epoch"])):
        yield int(each["epoch"]), int(each["step"]), float(each["rate"])


def _count(values: CardValues, key: str) -> int:
    found = values.get(key)
    return found if isinstance(found, int) else 0
