"""Train a small entailment model: multinomial logistic regression over a frozen encoder, without fine-tuning it.

    pairs = [Pair("id", "A man is sleeping.", "A man is awake.", "contradiction"), ...]
    trained = train_entailment(pairs, "models/minilm", "models/nli")
    trained.card["held_out"]["accuracy"]

The features of a pair are those of `curate.models.encoder.pair_head`, each less its mean and by its deviation over the
pairs learnt. The weights are those with the least mean of -log P(label), plus strength / 2 times their squares, found
by `fit_linear` over pairs in the order of their ids.

Pairs that share a text, with one another or over others, are held out together or not at all: otherwise a model is
measured on sentences that it has learnt.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError
from curate.core.files import atomic_output, content_hash, folder_hash, join, list_inputs
from curate.models.device import Device
from curate.models.encoder.encoder import load_encoder
from curate.models.encoder.pair_head import (
    ENCODER,
    LABELS,
    SETTINGS,
    WEIGHTS,
    Array,
    PairHead,
    PairSettings,
    features,
    save_pair_head,
    word_features,
)
from curate.models.linear import fit_linear
from curate.models.lm.folder import check_folder
from curate.models.trained import MIN_TEXTS, Trained

MODEL, CARD = "model", "model.json"
# What of an encoder's folder is used: downloads hold the same weights in other formats too.
_COPIED = (".json", ".safetensors", ".txt", ".model", ".jinja")


@dataclass(frozen=True)
class Pair:
    """A premise and a hypothesis with a label, one of `LABELS` in any case, or with none."""

    id: str
    premise: str
    hypothesis: str
    label: str | None


def train_entailment(
    pairs: Iterable[Pair],
    encoder: str,
    out_dir: str,
    *,
    context: int = 128,
    strength: float = 0.3,
    held_out: float = 0.2,
    seed: int = 0,
    batch_tokens: int = 8192,
    device: Device = "auto",
) -> Trained:
    """Embed, fit, measure, and write `model/` (head and encoder) and its card `model.json`.

    The features are held in memory: 8 bytes a number, some 1,500 numbers a pair for an encoder of 384.

    Args:
        pairs: those without a label or with an empty text are counted and left out.
        encoder: the folder of the encoder.
        out_dir: a folder, local or remote.
        context: how many tokens of a text are read.
        strength: of the regularisation, above 0.
        held_out: the part of the pairs, between 0 and 1, that is not learnt but measured.
        seed: chooses the held-out pairs.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a label is none of the three, or numbers make no classifier.
        ModelError: the encoder is not there, not whole or not safe.
        RunError: too few pairs have a label, or all or none are held out.
    """
    if not 0 < held_out < 1 or strength <= 0:
        raise ConfigError(f"held_out {held_out}, strength {strength}: expected a part between 0 and 1, and above 0")
    every = list(pairs)
    usable = (each for each in every if each.label and each.premise.strip() and each.hypothesis.strip())
    some = sorted(usable, key=lambda each: each.id)
    y = np.array([_label(each) for each in some], dtype=np.int64)
    if len(some) < MIN_TEXTS:
        raise RunError(f"{len(some)} of {len(every)} pairs have texts and a label; training needs at least {MIN_TEXTS}")
    measured = held_out_pairs([(each.premise, each.hypothesis) for each in some], held_out, seed)
    if measured.all() or not measured.any():
        raise RunError(
            f"{int(measured.sum())} of {len(some)} pairs are held out, as pairs that share texts stay together;"
            " give it pairs of more texts or change held_out"
        )
    path = check_folder(encoder)
    loaded = load_encoder(path, context=context, device=device)
    texts = sorted({text for each in some for text in (each.premise, each.hypothesis)})
    at = {text: i for i, text in enumerate(texts)}
    embeddings = loaded.embed(texts, batch_tokens=batch_tokens)
    x = features(
        embeddings[[at[each.premise] for each in some]],
        embeddings[[at[each.hypothesis] for each in some]],
        word_features([(each.premise, each.hypothesis) for each in some]),
    )
    weight, bias = fit_logistic(x[~measured], y[~measured], strength)
    head = PairHead(weight, bias, PairSettings(context=loaded.context))
    found = _measure(head, x[measured], y[measured])
    save_pair_head(join(out_dir, MODEL), head)
    files = {name: content_hash(join(out_dir, MODEL, name)) for name in (SETTINGS, WEIGHTS)}
    files |= _copy_encoder(path, join(out_dir, MODEL))
    rows = [[each.id, each.premise, each.hypothesis, LABELS[label]] for each, label in zip(some, y, strict=True)]
    card: dict[str, Plain] = {
        "kind": "entailment",
        "model": folder_hash(files),
        "settings": {"context": loaded.context, "strength": strength, "held_out": held_out, "seed": seed},
        "data": {
            "pairs": len(some),
            "left_out": len(every) - len(some),
            "labels": {name: int((y == i).sum()) for i, name in enumerate(LABELS)},
            "digest": xxhash.xxh3_128_hexdigest(orjson.dumps(rows)),
        },
        "held_out": found,
    }
    with atomic_output(join(out_dir, CARD)) as out:
        out.write(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return Trained(join(out_dir, MODEL), card)


def held_out_pairs(pairs: Sequence[tuple[str, str]], part: float, seed: int) -> npt.NDArray[np.bool_]:
    """Whether each pair is held out; those that share a text, over any number of others, are on the same side.

    Which side follows from the seed and the smallest text of those that hang together.
    """
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while (above := parent.setdefault(text, text)) != text:
            parent[text] = parent[above] = parent.setdefault(above, above)
            text = parent[text]
        return text

    for premise, hypothesis in pairs:
        low, high = sorted((root(premise), root(hypothesis)))
        parent[high] = low
    hashes = [xxhash.xxh3_64_intdigest(root(premise).encode("utf-8", "replace"), seed) for premise, _ in pairs]
    return np.array([each < part * 2.0**64 for each in hashes], dtype=np.bool_)


def fit_logistic(x: Array, y: npt.NDArray[np.int64], strength: float) -> tuple[Array, Array]:
    """The weight (labels, features) and bias (labels) of a multinomial logistic regression; see the module.

    Args:
        x: the features, (rows, features).
        y: the label of each row, by its number in `LABELS`.
        strength: of the regularisation.
    """
    found = fit_linear(x, y, classes=len(LABELS), l2=strength * len(x))
    weight = np.ascontiguousarray((found.weight / found.scale[:, None]).T)
    # Not by a product of BLAS, whose bits may depend on the number of threads.
    return weight, found.bias - np.einsum("lf,f->l", weight, found.mean)


def _label(pair: Pair) -> int:
    name = (pair.label or "").lower()
    if name not in LABELS:
        raise ConfigError(f"pair {pair.id}: its label {pair.label!r} is none of {', '.join(LABELS)}; rename the labels")
    return LABELS.index(name)


def _measure(head: PairHead, x: Array, y: npt.NDArray[np.int64]) -> dict[str, Plain]:
    """How well labels that were not learnt are predicted."""
    called = head.probabilities(x).argmax(1)
    recall: dict[str, Plain] = {
        name: round(float((called[y == i] == i).mean()), 6) for i, name in enumerate(LABELS) if (y == i).any()
    }
    return {
        "pairs": len(y),
        "accuracy": round(float((called == y).mean()), 6),
        "majority": round(max(Counter(y.tolist()).values()) / len(y), 6),
        "recall": recall,
    }


def _copy_encoder(path: str, folder: str) -> dict[str, str]:
    """Copy what is used of an encoder below a folder; the hashes of the copies by name."""
    hashes: dict[str, str] = {}
    for each in list_inputs(path):
        if "/" in each.name or not each.name.endswith(_COPIED):
            continue
        name = join(ENCODER, each.name)
        with open(os.path.join(path, each.name), "rb") as stream, atomic_output(join(folder, name)) as out:
            while block := stream.read(1 << 22):
                out.write(block)
        hashes[name] = content_hash(join(folder, name))
    return hashes
