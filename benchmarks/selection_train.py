"""The trainings of `selection_methods.py`: a copy of the small model learns a pick, and is measured on each target.

train_on("../shared/models/tiny-llama", "build/selection-methods/800-60-0", rows, ("gsm8k",), seed=0)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import orjson

from curate.core.chat.messages import Turn
from curate.models.device import threads
from curate.models.lm.chat_encode import ChatEncoder, Encoded, load_chat_encoder
from curate.models.lm.finetune.data import Row
from curate.models.lm.finetune.loop import Tuning, mean_loss
from curate.models.lm.finetune.train import finetune_rows
from curate.models.lm.folder import load_causal_lm

Losses = dict[str, float]
EPOCHS, RATE, BATCH_ROWS, CONTEXT = 3, 1e-4, 8, 512


def train_on(model: str, folder: str, rows: Sequence[int], targets: Sequence[str], seed: int) -> Losses:
    """The loss on each target's held-out answers after learning these rows of the pool, on one thread."""
    lm, encoder = _load(model)
    tuning = Tuning(full=True, epochs=EPOCHS, lr=RATE, batch_rows=BATCH_ROWS, seed=seed)
    pool = _encoded(encoder, f"{folder}/pool.jsonl")
    with threads(1):
        tuned = finetune_rows(lm, [row for i in rows if (row := pool[i]) is not None], tuning)
        return {target: _loss(tuned, encoder, folder, target) for target in targets}


def base_losses(model: str, folder: str, targets: Sequence[str]) -> Losses:
    """The losses before anything is learnt."""
    lm, encoder = _load(model)
    with threads(1):
        return {target: _loss(lm, encoder, folder, target) for target in targets}


def _loss(model: object, encoder: ChatEncoder, folder: str, target: str) -> float:
    rows = [row for row in _encoded(encoder, f"{folder}/{target}-held-out.jsonl") if row is not None]
    return mean_loss(model, rows)  # type: ignore[arg-type]


@functools.cache
def _load(model: str) -> tuple[object, ChatEncoder]:
    return load_causal_lm(model, device="cpu").model, load_chat_encoder(model, context=CONTEXT)


@functools.cache
def _encoded(encoder: ChatEncoder, path: str) -> list[Row | None]:
    """The rows of a file as tokens, None where nothing is supervised."""
    chats = [
        tuple(Turn(turn["role"], turn["content"]) for turn in orjson.loads(line)["messages"])
        for line in Path(path).read_bytes().splitlines()
    ]
    return [Row(f"{i:06d}", each) if isinstance(each, Encoded) else None for i, each in enumerate(encoder(chats))]
