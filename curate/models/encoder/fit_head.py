"""Train an embedding classifier: a linear head, by ridge regression, over the embeddings of a frozen encoder.

    rows = [Labelled("id", "A lesson on plate tectonics ...", 5.0), ...]
    trained = train_embedding(rows, "models/minilm", "models/edu")
    trained.card["held_out"]["f1"]               # at the threshold

With X the embeddings and y the labels, both less their means over the n rows learnt, the weights are
(X'X / n + ridge * t * I)^-1 X'y / n, where t is the mean of the diagonal of X'X / n, so that `ridge` has no unit.
The closed form, in float64 on one thread over rows in the order of their ids, gives the same bytes every time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError
from curate.core.files import atomic_output, content_hash, folder_hash, join, list_inputs
from curate.models.device import Device, require, threads
from curate.models.encoder.encoder import Embeddings, Encoder, load_encoder
from curate.models.encoder.head import ENCODER, SETTINGS, WEIGHTS, Head, Settings, save_head
from curate.models.lm.folder import check_folder
from curate.models.stats import at_threshold, auroc, deciles
from curate.models.trained import MIN_TEXTS, Trained

MODEL, CARD = "model", "model.json"
# What of an encoder's folder is used: downloads hold the same weights in other formats too.
_COPIED = (".json", ".safetensors", ".txt", ".model", ".jinja")


@dataclass(frozen=True)
class Labelled:
    """A text with a label, or with none (None or NaN)."""

    id: str
    text: str
    label: float | None


@dataclass(frozen=True)
class Embedded:
    """Rows with labels as they are learnt: ids, hashes of the texts, labels, embeddings; and how many had none.

    `missing` counts rows without a label, `empty` rows with one but without a token.
    """

    ids: list[str]
    hashes: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.float64]
    embeddings: Embeddings
    missing: int
    empty: int


def train_embedding(
    rows: Iterable[Labelled],
    encoder: str,
    out_dir: str,
    *,
    lowest: int = 0,
    highest: int = 5,
    threshold: int = 3,
    context: int = 512,
    ridge: float = 0.01,
    held_out: float = 0.1,
    seed: int = 0,
    device: Device = "auto",
) -> Trained:
    """Embed, fit, measure, and write `model/` (head and encoder) and its card `model.json`.

    The embeddings are held in memory, 8 bytes a number.

    Args:
        rows: those without a label are counted and left out.
        encoder: the folder of the encoder.
        out_dir: a folder, local or remote.
        lowest, highest: the range of the labels.
        threshold: what F1, precision and recall are measured at: the clamped and rounded score is at least this.
        context: how many tokens of a text are read.
        ridge: the strength of the regularisation, 0 or more.
        held_out: the part of the texts, between 0 and 1, that is not learnt but measured.
        seed: chooses the held-out texts.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a label is out of range, or numbers make no classifier.
        ModelError: the encoder is not there, not whole or not safe.
        RunError: too few rows have a label.
    """
    settings = Settings(lowest, highest, threshold, context)
    embedded = embed_rows(load_encoder(encoder, context=context, device=device), rows, settings)
    return fit_embedding([embedded], encoder, out_dir, settings, ridge=ridge, held_out=held_out, seed=seed)


def embed_rows(encoder: Encoder, rows: Iterable[Labelled], settings: Settings) -> Embedded:
    """Embed the rows that have a label.

    Raises:
        ConfigError: a label is out of range.
    """
    every = list(rows)
    some = [row for row in every if row.label is not None and not math.isnan(row.label)]
    labels = np.array([row.label for row in some], dtype=np.float64)
    for row, label in zip(some, labels, strict=True):
        if not settings.lowest <= label <= settings.highest:
            raise ConfigError(
                f"row {row.id}: its label {label:g} is not from {settings.lowest} to {settings.highest};"
                " set `lowest:` and `highest:`, or choose another column"
            )
    embeddings = encoder.embed([row.text for row in some])
    has = ~np.isnan(embeddings[:, 0])
    hashes = np.array([xxhash.xxh3_64_intdigest(row.text.encode("utf-8", "replace")) for row in some], dtype=np.uint64)
    ids = [row.id for row, there in zip(some, has, strict=True) if there]
    return Embedded(ids, hashes[has], labels[has], embeddings[has], len(every) - len(some), int((~has).sum()))


def fit_embedding(
    parts: Sequence[Embedded],
    encoder: str,
    out_dir: str,
    settings: Settings,
    *,
    ridge: float,
    held_out: float,
    seed: int,
) -> Trained:
    """Fit the head on embedded rows in any order, and write everything; see `train_embedding`."""
    if not 0 < held_out < 1 or ridge < 0:
        raise ConfigError(f"held_out {held_out}, ridge {ridge}: expected a part between 0 and 1, and 0 or more")
    require()
    path = check_folder(encoder)
    ids = np.array([id_ for part in parts for id_ in part.ids], dtype=np.str_)
    order = np.argsort(ids, kind="stable")
    if len(ids) < MIN_TEXTS:
        missing = sum(part.missing for part in parts)
        raise RunError(f"{len(ids)} rows have a label, {missing} have none; training needs at least {MIN_TEXTS}")
    x = np.concatenate([part.embeddings for part in parts if part.ids])[order]
    y = np.concatenate([part.labels for part in parts])[order]
    hashes = np.concatenate([part.hashes for part in parts])[order]
    measured = _held_out(hashes, held_out, seed)
    if measured.all() or not measured.any():
        raise RunError(f"{int(measured.sum())} of {len(ids)} rows are held out; give it more rows or change held_out")
    above = int((y[measured] >= settings.threshold).sum())
    if above in (0, measured.sum()):
        raise RunError(
            f"{above} of {measured.sum()} held-out labels are at least the threshold {settings.threshold}, and some of"
            " both kinds are needed: change `threshold` or `held_out`, or give it other labels"
        )
    head = _solve(x[~measured], y[~measured], ridge, settings)
    found = _measure(head, x[measured], y[measured])
    save_head(join(out_dir, MODEL), head)
    files = {name: content_hash(join(out_dir, MODEL, name)) for name in (SETTINGS, WEIGHTS)}
    for each in list_inputs(path):
        if "/" in each.name or not each.name.endswith(_COPIED):
            continue
        name = join(ENCODER, each.name)
        with open(each.url, "rb") as stream, atomic_output(join(out_dir, MODEL, name)) as out:
            while block := stream.read(1 << 22):
                out.write(block)
        files[name] = content_hash(each.url)
    digest = xxhash.xxh3_128(ids[order].astype(np.bytes_).tobytes())
    digest.update(np.ascontiguousarray(y).tobytes() + np.ascontiguousarray(hashes).tobytes())
    card: dict[str, Plain] = {
        "kind": "embedding",
        "model": folder_hash(files),
        "settings": {**asdict(settings), "ridge": ridge, "held_out": held_out, "seed": seed},
        "data": {
            "rows": len(ids),
            "missing_label": sum(part.missing for part in parts),
            "empty": sum(part.empty for part in parts),
            "labels": dict(Counter(f"{label:g}" for label in np.sort(y))),
            "digest": digest.hexdigest(),
        },
        "held_out": found,
    }
    with atomic_output(join(out_dir, CARD)) as out:
        out.write(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return Trained(join(out_dir, MODEL), card)


def _held_out(hashes: npt.NDArray[np.uint64], part: float, seed: int) -> npt.NDArray[np.bool_]:
    """Whether each row is held out, by the hash of its text, so that equal texts are on the same side."""
    seeded = [xxhash.xxh3_64_intdigest(int(each).to_bytes(8, "little"), seed) for each in hashes]
    return np.array([each < part * 2.0**64 for each in seeded], dtype=np.bool_)


def _solve(x: Embeddings, y: npt.NDArray[np.float64], ridge: float, settings: Settings) -> Head:
    import torch

    middle, mean = x.mean(0), float(y.mean())
    with threads(1):
        centred = torch.from_numpy(x - middle)
        gram = centred.T @ centred / len(x)
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
        # The least-squares solution, as a ridge of 0 may leave the matrix without an inverse.
        right = centred.T @ torch.from_numpy(y - mean) / len(x)
        weight = torch.linalg.lstsq(gram, right[:, None], driver="gelsd").solution[:, 0].numpy()
    return Head(weight, mean - float(middle @ weight), settings)


def _measure(head: Head, x: Embeddings, y: npt.NDArray[np.float64]) -> dict[str, Plain]:
    """How well labels that were not learnt are predicted."""
    threshold = head.settings.threshold
    values = head.values(x)
    truth = y >= threshold
    measured = {
        "rows": len(y),
        "positive": int(truth.sum()),
        "threshold": threshold,
        **asdict(at_threshold(head.labels(values), truth, threshold)),
        "auroc": auroc(values, truth),
        "mse": float(np.mean((values - y) ** 2)),
        "mse_of_the_mean": float(np.mean((y - y.mean()) ** 2)),
    }
    rounded: dict[str, Plain] = {k: round(v, 6) if isinstance(v, float) else v for k, v in measured.items()}
    rounded["deciles"] = [round(each, 6) for each in deciles(values)]
    return rounded
