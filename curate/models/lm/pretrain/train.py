"""Train a small Llama from scratch on texts: the proxy that the scorer `causal_lm` asks how surprising a text is.

    trained = train_causal_lm(((row["id"], row["text"]) for row in rows), "models/proxy", tokens=500_000)
    trained.model                                # models/proxy/model, a folder for `causal_lm(model=...)`
    trained.card["held_out"]["bits_per_byte"]

The tokenizer, a byte-level BPE, is learnt from the same texts. Which texts are held out, and the order of the
others, depend on the seed and on hashes, never on how the texts arrive. The bytes of the model are the same for
the same texts, settings, number of threads and build of torch, on one kind of processor, whether or not the
training was stopped and gone on with. Texts and tokens are held in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict

import orjson

from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError
from curate.core.files import join
from curate.models.device import Device, choose, deterministic, require
from curate.models.lm.batching import grain_of
from curate.models.lm.folder import LanguageModel, Tokenizer, check_folder, encode, load_tokenizer
from curate.models.lm.loss_curve import curve_rows
from curate.models.lm.pretrain.data import Blocks, Split, head, pack, split_texts, train_tokenizer
from curate.models.lm.pretrain.loop import Point, Schedule, Shape, Trainable, fit, new_model
from curate.models.lm.save import MODEL, write_trained
from curate.models.lm.windows import token_losses
from curate.models.trained import Trained

POINTS = 10
# The held-out texts are measured at every point of the curve: only the first of them, up to this size.
_HELD_OUT_BYTES = 100_000
# The 256 bytes, the end of a text, and some that are learnt.
MIN_VOCABULARY = 260


def train_causal_lm(
    texts: Iterable[tuple[str, str]],
    out_dir: str,
    *,
    vocabulary: int = 4096,
    tokenizer: str | None = None,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    kv_heads: int | None = None,
    context: int = 256,
    tokens: int = 5_000_000,
    batch_tokens: int = 2048,
    lr: float = 3e-3,
    warmup: float = 0.05,
    held_out: float = 0.05,
    seed: int = 0,
    threads: int = 1,
    device: Device = "auto",
    scratch: str | None = None,
    checkpoint_every: int = 100,
) -> Trained:
    """Train, and write `model/`, its card `model.json`, and the loss curve as `loss.csv` and `loss.svg`.

    Args:
        texts: pairs of id and text; empty texts are skipped.
        out_dir: a folder, local or remote.
        vocabulary: tokens of the tokenizer, at most.
        tokenizer: the folder of a model whose tokenizer is taken instead.
        layers, width, heads, kv_heads, context: the shape of the model; `kv_heads` as `heads` by default.
        tokens: how many it learns, in whole batches; the texts are repeated, in another order, if they have fewer.
        batch_tokens: tokens of a step.
        lr: the highest learning rate.
        warmup: the part of the steps in which the rate rises.
        held_out: the part of the texts, from 0 to below 1, that is not learnt but measured.
        seed: chooses weights, held-out texts and order.
        threads: of torch; another number may give other bytes.
        device: `auto` takes the GPU where there is one, which gives other bytes than a CPU.
        scratch: a folder for checkpoints, from which a training that was stopped goes on; none by default.
        checkpoint_every: steps between two checkpoints.

    Raises:
        ConfigError: numbers that make no model.
        ModelError: the packages, the tokenizer or the GPU are not there.
        RunError: too few texts.
    """
    require()
    shape = Shape(layers, width, heads, kv_heads or heads, context)
    _check(shape, vocabulary, tokens, held_out, warmup, batch_tokens)
    split = split_texts(texts, held_out=held_out, seed=seed)
    if not split.learnt or (held_out and not split.held_out):
        raise RunError(
            f"{len(split.learnt)} texts to learn from and {len(split.held_out)} held out; give it more texts"
        )
    chosen = train_tokenizer(split.learnt, vocabulary) if tokenizer is None else load_tokenizer(check_folder(tokenizer))
    end = chosen.eos_token_id
    if end is None:
        raise ConfigError(f"{tokenizer}: its tokenizer has no end of text (eos); name another or leave it out")
    stream = pack(chosen, split.learnt, tokens + context, end)
    blocks = Blocks(stream, context, seed)
    rows = max(1, batch_tokens // context)
    steps = -(-tokens // (rows * context))
    schedule = Schedule(steps, rows, lr, max(1, round(warmup * steps)))
    settings: dict[str, Plain] = {
        **asdict(shape),
        **{"vocabulary": len(chosen), "tokens": tokens, "batch_tokens": rows * context, "lr": lr, "warmup": warmup},
        **{"held_out": held_out, "seed": seed, "threads": threads},
    }
    where = choose(device)
    with deterministic(threads):
        model = new_model(shape, vocabulary=len(chosen), end=end, seed=seed)
        model.to(where)
        held = _HeldOut(model, chosen, end, head(split.held_out, _HELD_OUT_BYTES), context, where)
        curve = fit(
            model,
            blocks,
            schedule,
            held.measure,
            points=POINTS,
            device=where,
            scratch=scratch,
            checkpoint_every=checkpoint_every,
            identity=orjson.dumps([settings, split.digest, _torch(), where]).decode(),
        )
    card = _card(settings, split, len(stream), steps * rows * context, model, curve, held)
    model.to("cpu")
    return Trained(join(out_dir, MODEL), write_trained(out_dir, model, chosen, card, curve_rows(curve, rows * context)))


def _check(shape: Shape, vocabulary: int, tokens: int, held_out: float, warmup: float, batch_tokens: int) -> None:
    for name, value in {**asdict(shape), "tokens": tokens, "batch_tokens": batch_tokens}.items():
        if value < 1:
            raise ConfigError(f"{name} {value}: a model and its training need a positive number")
    if shape.width % shape.heads or (shape.width // shape.heads) % 2:
        raise ConfigError(f"width {shape.width}: does not give each of {shape.heads} heads the same even width")
    if shape.heads % shape.kv_heads:
        raise ConfigError(f"kv_heads {shape.kv_heads}: does not divide the {shape.heads} heads")
    if vocabulary < MIN_VOCABULARY:
        raise ConfigError(f"vocabulary {vocabulary}: a byte-level tokenizer needs at least {MIN_VOCABULARY}")
    if not 0 <= held_out < 1 or not 0 <= warmup < 1:
        raise ConfigError(f"held_out {held_out}, warmup {warmup}: expected parts, from 0 to below 1")


class _HeldOut:
    """The held-out texts as the scorer, with a stride of a context, would score them with the model as it is."""

    def __init__(
        self, model: Trainable, tokenizer: Tokenizer, end: int, texts: list[str], context: int, device: str
    ) -> None:
        self.texts, self.size = len(texts), sum(len(text.encode("utf-8", "replace")) for text in texts)
        self._tokens = encode(tokenizer, texts)
        self.tokens = sum(len(each) for each in self._tokens)
        self._context = context
        grain = grain_of(model, device)
        self._lm = LanguageModel(
            "the model in training", model, lambda _: [], end, context, len(tokenizer), device, grain
        )

    def measure(self) -> tuple[float, float]:
        """Nats a token and bits a byte; NaN where nothing is held out."""
        if not self.tokens:
            return math.nan, math.nan
        # Without overlap of the windows, which would double the time that the measuring takes.
        reads = self._context
        losses = token_losses(self._lm, self._tokens, context=reads, stride=reads, batch_tokens=8192)
        total = math.fsum(math.fsum(each) for each in losses)
        return total / self.tokens, total / math.log(2) / self.size


def _torch() -> str:
    import torch

    return str(torch.__version__)


def _card(
    settings: dict[str, Plain],
    split: Split,
    stream: int,
    seen: int,
    model: Trainable,
    curve: list[Point],
    held: _HeldOut,
) -> dict[str, Plain]:
    last = curve[-1]
    measured: dict[str, Plain] = {"texts": len(split.held_out), "measured_texts": held.texts}
    measured.update({"measured_tokens": held.tokens, "measured_bytes": held.size})
    if held.tokens:
        measured.update(loss=round(last.held_out_loss, 6), bits_per_byte=round(last.bits_per_byte, 6))
    return {
        "kind": "causal_lm",
        "parameters": sum(each.numel() for _, each in model.named_parameters()),
        "settings": settings,
        "torch": _torch(),
        "data": {"texts": len(split.learnt) + len(split.held_out), "digest": split.digest},
        "learnt": {"tokens": seen, "of": stream, "epochs": round(seen / stream, 4), "loss": round(last.train_loss, 6)},
        "held_out": measured,
    }
