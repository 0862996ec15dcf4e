"""The parts of `selection.py` about gradients: features per second, errors of projections, and the store."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

import numpy as np
import numpy.typing as npt
import torch
import zstandard

from curate.core.chat.messages import Conversation, Turn
from curate.core.config import validate
from curate.models.lm.chat_encode import Encoded, load_chat_encoder
from curate.models.lm.checkpoints import Checkpoint, load_checkpoint, model_hash, read_checkpoints, write_checkpoint
from curate.models.lm.folder import load_causal_lm
from curate.models.lm.gradients import backward, linear_layers, make_batch
from curate.models.lm.lora import Lora, trained, wrap
from curate.steps.select.gradient import LAYERS, Gradient
from curate.steps.select.projection import PROJECTIONS, Dense, Sparse
from curate.steps.select.store import Kind, Layout, Store, write_piece

CONTEXT = 512


def conversations(shared: Path, rows: int) -> list[Conversation]:
    """The first rows of Dolly."""
    with zstandard.open(shared / "data" / "instruct_dolly3k.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        read = [json.loads(line) for line, _ in zip(stream, range(rows), strict=False)]
    return [(Turn("user", f"{row['instruction']}\n\n{row['input']}"), Turn("assistant", row["output"])) for row in read]


def clock(call: Callable[..., object], *arguments: object) -> float:
    """Seconds of the processor."""
    started = time.process_time()
    call(*arguments)
    return time.process_time() - started


def wall(call: Callable[..., object], *arguments: object) -> float:
    """Seconds by the clock, which count what is waited for, too."""
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def make_warm_up(model: str, folder: str, rank: int) -> None:
    """A checkpoint of a wrapped model with random numbers for B and the moments, as good as any for timing."""
    Path(folder, "config.json").write_text("{}")
    lm = cast(torch.nn.Module, load_causal_lm(model, device="cpu").model)
    settings = Lora(rank=rank, alpha=4 * rank)
    wrap(lm, settings, seed=0)
    weights = {name: torch.randn(each.shape) * 0.01 for name, each in trained(lm).items()}
    moments = {name: (torch.randn(w.shape) * 1e-3, torch.rand(w.shape) * 1e-5) for name, w in weights.items()}
    checkpoint = Checkpoint(
        base=model_hash(model), lora=settings, template=None, context=CONTEXT,
        epoch=1, step=10, rate=1e-5, betas=(0.9, 0.999), eps=1e-8,
    )  # fmt: skip
    write_checkpoint(folder, checkpoint, weights, moments)


class Loop:
    """One row, one backward pass, LESS's update; then one product with a dense matrix of signs for `together` rows.

    The matrix is held where `held`, and made anew in blocks for every product where it is too large for that.
    """

    def __init__(self, model: str, warm: str, dim: int, *, held: bool, together: int) -> None:
        self._encode = load_chat_encoder(model, context=CONTEXT)
        self._model = cast(torch.nn.Module, load_causal_lm(model, device="cpu").model)
        (checkpoint,) = read_checkpoints(warm, model_hash(model))
        load_checkpoint(self._model, checkpoint)
        self._learning = trained(self._model)
        moments = checkpoint.moments()
        self._m = torch.cat([moments[name][0].flatten() for name in self._learning])
        self._v = torch.cat([moments[name][1].flatten() for name in self._learning])
        self._dim, self._together, self._chance = dim, together, np.random.default_rng(0)
        self._matrix = torch.cat([self._signs(at) for at in self._blocks()]) if held else None

    @property
    def coordinates(self) -> int:
        """Of a gradient."""
        return len(self._m)

    def _blocks(self) -> list[slice]:
        return [slice(at, min(at + 1024, self.coordinates)) for at in range(0, self.coordinates, 1024)]

    def _signs(self, rows: slice) -> torch.Tensor:
        count = (rows.stop - rows.start) * self._dim
        bits = np.unpackbits(np.frombuffer(self._chance.bytes(-(-count // 8)), np.uint8), count=count)
        return torch.from_numpy(bits).float().mul_(2).sub_(1).view(-1, self._dim)

    def __call__(self, rows: Sequence[Conversation]) -> list[torch.Tensor]:
        """The features, of so many rows at a time as are projected together."""
        updates = [self._update(each) for each in self._encode(rows) if isinstance(each, Encoded)]
        return [
            self._project(torch.stack(updates[at : at + self._together]))
            for at in range(0, len(updates), self._together)
        ]

    def _update(self, row: Encoded) -> torch.Tensor:
        ids = torch.from_numpy(row.ids.astype(np.int64))
        logits = self._model(input_ids=ids[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        losses[torch.from_numpy(row.supervised[1:])].mean().backward()
        g = torch.cat([cast(torch.Tensor, each.grad).flatten() for each in self._learning.values()])
        self._model.zero_grad()
        return (0.9 * self._m + 0.1 * g) / (0.999 * self._v + 0.001 * g**2 + 1e-8).sqrt()

    def _project(self, updates: torch.Tensor) -> torch.Tensor:
        if self._matrix is not None:
            return updates @ self._matrix
        found = torch.zeros(len(updates), self._dim)
        for at in self._blocks():
            found += updates[:, at] @ self._signs(at)
        return found


# Rank, d, whether the dense matrix is held, rows of a product with it, rows that are timed.
SETTINGS = ((128, 8192, False, 1, 2), (128, 8192, False, 16, 16), (128, 1024, True, 1, 16), (8, 8192, True, 1, 16))


def gradients(shared: Path) -> None:
    """Features a second against the loop, on the same rows."""
    model = str(shared / "models" / "tiny-llama")
    print("\n| rank | a gradient | d | dense matrix | loop, rows/s | Curate, rows/s | times |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for rank, dim, held, together, some in SETTINGS:
        with tempfile.TemporaryDirectory() as warm:
            make_warm_up(model, warm, rank)
            feature = validate(Gradient, {"model": model, "warmup": warm, "dim": dim}, ())
            mine, loop = feature.load(feature.models()), Loop(model, warm, dim, held=held, together=together)
            rows = conversations(shared, 16)
            mine(rows)  # the checkpoint is read, and the kernel compiled
            taken = [(clock(loop, rows[:some]) / some, clock(mine, rows) / len(rows)) for _ in range(3 if held else 1)]
        slow, fast = (min(each) for each in zip(*taken, strict=True))
        size = f"held, {loop.coordinates * dim * 4 / 1e9:.1f} GB" if held else f"made for {together} rows"
        print(
            f"| {rank} | {loop.coordinates:,} | {dim} | {size} | {1 / slow:.3g} | {1 / fast:.3g} | {slow / fast:.1f} |",
            flush=True,
        )


def projection(shared: Path) -> None:
    """Errors of the cosines between real gradients: of each projection, and of each kind of number in the store."""
    model = str(shared / "models" / "tiny-llama")
    lm = cast(torch.nn.Module, load_causal_lm(model, device="cpu").model).requires_grad_(False)
    layers = linear_layers(lm, LAYERS)
    encoded = [
        each for each in load_chat_encoder(model, context=256)(conversations(shared, 48)) if isinstance(each, Encoded)
    ]
    factors: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []
    for row in encoded:
        own: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        batch = make_batch([(row.ids, 1 + np.flatnonzero(row.supervised[1:]))], len(row.ids), device="cpu")
        backward(lm, layers, batch, lambda name, inputs, errors, own=own: own.update({name: (inputs, errors)}))
        factors.append(own)
    names = list(factors[0])
    stacked = {
        name: torch.cat([(each[name][1].transpose(1, 2) @ each[name][0]).flatten(1) for each in factors])
        for name in names
    }
    exact = cosines(torch.cat(list(stacked.values()), 1).numpy())
    numbers = sum(each.shape[1] for each in stacked.values())
    print(f"\nCosines of {len(factors)} gradients of {numbers:,} numbers: deviation {exact.std():.3f}")
    print("\n| projection | 1,024 | 4,096 | 8,192 |\n| --- | --- | --- | --- |")
    kept: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)
    for kind, make in PROJECTIONS.items():
        found: list[str] = []
        for dim in (1024, 4096, 8192):
            made, into = make(dim, 0), torch.zeros(len(factors), dim)
            for name in names:
                if isinstance(made, Sparse | Dense):
                    made.project(name, stacked[name], into)
                else:
                    for i, each in enumerate(factors):
                        made.add(name, *each[name], into[i : i + 1])
            found.append(f"{deviation(cosines(into.numpy()) - exact):.4f}")
            kept = into.numpy() if kind == "sparse" else kept
        print(f"| {kind} | {' | '.join(found)} |", flush=True)
    print("\n| kind | bytes a row | error against the projection | against the gradients |\n| --- | --- | --- | --- |")
    for number in get_args(Kind):
        with tempfile.TemporaryDirectory() as folder:
            layout = Layout(number, 1, kept.shape[1])
            write_piece(folder, "rows", layout, kept[:, None])
            read = Store(folder, [("rows", len(kept))], layout, [1.0]).take(range(len(kept)))[:, 0]
        first, second = deviation(cosines(read) - cosines(kept)), deviation(cosines(read) - exact)
        print(f"| {number} | {layout.row_bytes:,} | {first:.5f} | {second:.4f} |")


def cosines(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of every pair of rows."""
    units = rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)
    return cast(npt.NDArray[np.float64], (units @ units.T)[np.triu_indices(len(rows), 1)])


def deviation(errors: npt.NDArray[np.float64]) -> float:
    """The root of the mean square."""
    return float(np.sqrt((errors**2).mean()))


def store(shared: Path) -> None:
    """Scoring every row of an int8 store against the time of reading it once."""
    rows, width, of = 100_000, 8192, 1024
    chance = np.random.default_rng(0)
    layout = Layout("int8", 1, width)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        pieces = [(f"part-{i:05d}", min(of, rows - i * of)) for i in range(-(-rows // of))]
        for name, count in pieces:
            write_piece(folder, name, layout, chance.standard_normal((count, 1, width), dtype=np.float32))
        made = Store(folder, pieces, layout, [1.0])
        names = [Path(folder, f"{name}.npy") for name, _ in pieces]
        size = sum(path.stat().st_size for path in names)

        def read() -> None:
            buffer = bytearray(max(path.stat().st_size for path in names))
            for path in names:
                with path.open("rb", buffering=0) as stream:
                    stream.readinto(buffer)

        def forget() -> None:
            os.sync()
            for path in names:
                with path.open("rb") as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        print(f"\n{rows:,} rows of {width:,} int8 numbers, {size / 1e9:.2f} GB; seconds by the clock, best of three")
        print("\n| queries | from the disk | from memory |\n| --- | --- | --- |")
        for count in (0, 1, 4, 16, 64):
            queries = chance.standard_normal((count, 1, width), dtype=np.float32)
            taken = []
            for _ in range(3):
                forget()
                each = [wall(made.scores, queries) if count else wall(read) for _ in range(2)]
                taken.append(each)
            cold, warm = (min(each) for each in zip(*taken, strict=True))
            print(f"| {count or 'none, only read'} | {cold:.2f} | {warm:.2f} |", flush=True)
