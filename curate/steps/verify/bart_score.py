"""The verifier `bart_score`: how likely a language model finds a text after what it was made from.

    verifier = bart_score(model="models/smol", between=" In other words: ")
    verifier(batch)[""]                          # the mean log P of a token of the text, in nats; 0 at most

Yuan et al. 2021, arXiv 2106.11520. The model writes one text from another, as BART and T5 do, and then the tokens that
its tokenizer adds to the target are scored with the others, as in the paper's code. Or it is a causal one: the source,
`between` and the target are one text, of which the target's tokens are scored, log P(target | source, between).
`direction: backward` scores the source after the target. Forward asks whether the text follows from its source
(faithfulness), backward whether it says all of it (recall); `both` is the mean of the two, the paper's F.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa

from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device, require
from curate.models.lm.folder import LanguageModel, Tokens, check_folder, load_causal_lm
from curate.models.lm.seq2seq import is_seq2seq, load_seq2seq
from curate.models.lm.windows import sequence_losses
from curate.steps.verify.batch import PARENTS, Columns, Verifier, VerifyBatch
from curate.steps.verify.similarity import DECIMALS, filled, positive

Direction = Literal["forward", "backward", "both"]
Pair = tuple[str, str]
# The mean log P of the tokens of the second text of each pair after the first; None where one has no token.
Judge = Callable[[Sequence[Pair]], list[float | None]]
_BETWEEN = "\n\n"
_MOST_CONTEXT = 2048


def bart_score(
    *,
    model: ModelFile,
    column: str = "text",
    to: str = PARENTS,
    between: str | None = None,
    direction: Direction = "forward",
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> Verifier:
    """The best over the other texts: `""`, float64 rounded to 6 decimals; with `both` also `forward` and `backward`.

    Null where one side has no text but white space. With a causal model each of the two texts may fill half of the
    context, and more where the other leaves room; what goes beyond is not read.

    Args:
        model: a folder with `config.json`, safetensors weights and a tokenizer, or a step that trains one.
        column: what is judged, the target.
        to: the source: `parents`, or a column of strings or of lists of them.
        between: what stands between the two for a causal model, an empty line by default.
        direction: which of the two is scored after the other.
        context: how many tokens are read, of each text or by a causal model of both; by default what the model can
            read, 1,024 of each or 2,048 of both at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is out of range, or `between` fills the context or has no place in the model.
        ModelError: the folder is not there, not whole or not safe, or there is no GPU.
    """
    positive("bart_score", batch_tokens=batch_tokens, **({} if context is None else {"context": context}))
    require()
    make = _seq2seq if is_seq2seq(check_folder(model)) else _causal
    judge = make(model, between, context, batch_tokens, device)
    wanted = ("forward", "backward") if direction == "both" else (direction,)

    def verify(batch: VerifyBatch) -> Columns:
        rows = [
            [(other, text) for other in others if filled(other)] if filled(text) else []
            for text, others in zip(batch.texts(column), batch.lists(to), strict=True)
        ]
        every = sorted({pair for row in rows for pair in row})
        scores: dict[str, Mapping[Pair, float]] = {}
        for way in wanted:
            turned = every if way == "forward" else [(target, source) for source, target in every]
            scores[way] = {pair: each for pair, each in zip(every, judge(turned), strict=True) if each is not None}
        best = [_best(row, list(scores.values())) for row in rows]
        columns = {"": pa.array([None if each is None else _mean(each) for each in best], pa.float64())}
        if direction == "both":
            for i, way in enumerate(wanted):
                columns[way] = pa.array(
                    [None if each is None else round(each[i], DECIMALS) for each in best], pa.float64()
                )
        return columns

    return verify


def _seq2seq(path: str, between: str | None, context: int | None, batch_tokens: int, device: Device) -> Judge:
    if between is not None:
        raise ConfigError(f"{path}: the model reads the two texts apart, so that nothing is between; remove `between:`")
    lm = load_seq2seq(path, context=context, device=device)

    def judge(pairs: Sequence[Pair]) -> list[float | None]:
        losses = lm.losses(pairs, batch_tokens=batch_tokens)
        return [-math.fsum(loss) / len(loss) if len(loss) else None for loss in losses]

    return judge


def _causal(path: str, between: str | None, context: int | None, batch_tokens: int, device: Device) -> Judge:
    lm = load_causal_lm(path, device=device)
    reads = context or min(lm.context or _MOST_CONTEXT, _MOST_CONTEXT)
    if lm.context is not None and reads > lm.context:
        raise ConfigError(f"{lm.path}: the model reads {lm.context} tokens at once, not {reads}; lower `context:`")
    (joint,) = lm.encode([_BETWEEN if between is None else between])
    room = reads - len(joint)
    if room < 2:
        raise ConfigError(f"bart_score: `between` has {len(joint)} tokens, and {reads} are read; shorten it")
    return functools.partial(_scores, lm, joint, room, batch_tokens)


def _scores(
    lm: LanguageModel, joint: Tokens, room: int, batch_tokens: int, pairs: Sequence[Pair]
) -> list[float | None]:
    firsts, seconds = (lm.encode([pair[i] for pair in pairs]) for i in (0, 1))
    sequences, sizes = [], []
    for first, second in zip(firsts, seconds, strict=True):
        half = room // 2
        kept = second[: max(half, room - len(first))]
        start = np.array([lm.start], dtype=np.int32)
        sequences.append(np.concatenate([start, first[: room - len(kept)], joint, kept]))
        sizes.append(len(kept) if len(first) else 0)
    # The start is read and not scored, so that a sequence of one token more than the context fits.
    losses = sequence_losses(lm, sequences, context=room + len(joint), batch_tokens=batch_tokens)
    return [-math.fsum(loss[-size:]) / size if size else None for loss, size in zip(losses, sizes, strict=True)]


def _best(row: Sequence[Pair], scores: Sequence[Mapping[Pair, float]]) -> list[float] | None:
    """The scores, one a direction, of the pair with the best mean."""
    known = [[way[pair] for way in scores] for pair in row if all(pair in way for way in scores)]
    return max(known, key=math.fsum, default=None)


def _mean(scores: Sequence[float]) -> float:
    return round(math.fsum(scores) / len(scores), DECIMALS)
