"""Train a fastText classifier of two classes, DCLM's recipe by default, the same bytes every time.

    result = train_fasttext(good_texts, poor_texts, "models/quality")
    result.model                                 # models/quality/model.bin
    result.card["held_out"]["auroc"]

Which texts are held out, and the order in which the others are learnt, depend on the seed and each text's
hash and on nothing else: neither on the order in which the texts come nor on how they are cut into shards.
The recipe is that of Li et al. 2024: `wordNgrams=2`, lr 0.1, dim 100, 5 epochs. The texts are held in memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import fasttext
import orjson
import xxhash

from curate.core.errors import ConfigError, RunError
from curate.core.files import atomic_output, content_hash, join
from curate.models.fasttext.run import PREFIX, one_line, run_fasttext, text_hash
from curate.models.ngram.text_form import card_path
from curate.models.stats import at_threshold, auroc, deciles
from curate.models.trained import MIN_TEXTS, Trained

MODEL_NAME = "model.bin"
_EPSILON = 1e-5  # the library adds it to each probability


@dataclass(frozen=True)
class _Class:
    label: str
    learnt: list[str]
    held_out: list[str]
    digest: str


def train_fasttext(
    positive: Iterable[str],
    negative: Iterable[str],
    out_dir: str,
    *,
    word_ngrams: int = 2,
    lr: float = 0.1,
    dim: int = 100,
    epoch: int = 5,
    min_count: int = 1,
    bucket: int = 2_000_000,
    held_out: float = 0.1,
    seed: int = 0,
    labels: tuple[str, str] = ("hq", "lq"),
) -> Trained:
    """Train on two classes of texts; write `model.bin`, and its card as `model.bin.json` and `model.bin.md`.

    The model is `4 * dim * (words + bucket)` bytes: 800 MB by default, so choose a smaller `bucket` for small
    data, and more epochs: below some thousand texts five leave every score near 0.5.
    One thread, as the library is not deterministic with more.

    Args:
        positive: texts of the class that is looked for; texts without a word are skipped.
        negative: texts of the other class.
        out_dir: a folder, local or remote.
        word_ngrams: up to how many words make a feature.
        lr: learning rate.
        dim: size of the vectors.
        epoch: passes over the data.
        min_count: words that occur less often are left out.
        bucket: hash buckets for n-grams of words.
        held_out: part of the texts, between 0 and 1, that is not learnt but measured.
        seed: chooses held-out texts, order, and the library's random numbers.
        labels: names of the positive and the negative class, without `__label__`.

    Raises:
        ConfigError: `held_out` or the labels make no sense.
        RunError: a class has too few texts, a text is in both classes, or the training diverges.
    """
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out {held_out}: the part that is measured is above 0 and below 1")
    if labels[0] == labels[1] or any(not label or label.split() != [label] for label in labels):
        raise ConfigError(f"labels {labels}: expected two different names without white space")
    split = [_split(texts, label, held_out, seed) for texts, label in zip((positive, negative), labels, strict=True)]
    _check_overlap(*split)
    arguments: dict[str, int | float] = {
        **{"wordNgrams": word_ngrams, "lr": lr, "dim": dim, "epoch": epoch},
        **{"minCount": min_count, "bucket": bucket, "seed": seed},
    }
    model = join(out_dir, MODEL_NAME)
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{PREFIX}{each.label} {line}\n" for each in split for line in each.learnt]
        saved = os.path.join(folder, MODEL_NAME)
        run_fasttext(lines, saved, arguments, seed)
        trained = fasttext.load_model(saved)
        scores = [_probabilities(trained, each.held_out, PREFIX + labels[0]) for each in split]
        card = _card(split, scores, {**arguments, "held_out": held_out}, content_hash(saved))
        write_model(saved, model, card, _markdown(card))
    return Trained(model, card)


def write_model(saved: str, model: str, card: Mapping[str, object], page: str) -> None:
    """Put a model that lies in a local file where it belongs: first its card, `model.bin.json` and `model.bin.md`."""
    with atomic_output(card_path(model)) as out:
        out.write(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    with atomic_output(f"{model}.md") as out:
        out.write(page.encode())
    with atomic_output(model) as out, open(saved, "rb") as stream_in:
        while block := stream_in.read(1 << 22):
            out.write(block)


def _split(texts: Iterable[str], label: str, held_out: float, seed: int) -> _Class:
    """Cut one class by the hash of each text, so that equal texts are on the same side."""
    learnt: list[str] = []
    measured: list[str] = []
    for text in texts:
        line = one_line(text)
        if line.strip():
            (measured if text_hash(line, seed) < held_out * 2.0**64 else learnt).append(line)
    if len(learnt) + len(measured) < MIN_TEXTS or not measured or not learnt:
        total = len(learnt) + len(measured)
        raise RunError(
            f"class {label!r}: {total} texts with words, {len(measured)} of them held out; training needs at"
            f" least {MIN_TEXTS} with some on each side, so give it more text or change held_out"
        )
    measured.sort()
    return _Class(label, learnt, measured, digest_of_lines([*learnt, *measured]))


def digest_of_lines(lines: Iterable[str]) -> str:
    """32 hex digits for some texts, in whatever order they come."""
    digest = xxhash.xxh3_128()
    for line in sorted(lines):
        digest.update(xxhash.xxh3_128_digest(line.encode("utf-8", "replace")))
    return digest.hexdigest()


def _check_overlap(one: _Class, other: _Class) -> None:
    both = {*one.learnt, *one.held_out} & {*other.learnt, *other.held_out}
    if both:
        raise RunError(
            f"{len(both)} texts are both {one.label!r} and {other.label!r}, such as {min(both)[:60]!r};"
            " take them out of one class"
        )


def _probabilities(model: fasttext.FastText._FastText, lines: list[str], label: str) -> list[float]:
    names, values = model.predict(lines, k=-1)
    found = (dict(zip(n, v, strict=True)) for n, v in zip(names, values, strict=True))
    return [min(max(float(each.get(label, 0.0)) - _EPSILON, 0.0), 1.0) for each in found]


def _card(
    split: list[_Class], scores: list[list[float]], arguments: dict[str, int | float], content: str
) -> dict[str, object]:
    both = [score for part in scores for score in part]
    truth = [i == 0 for i, part in enumerate(scores) for _ in part]
    measured = {k: round(v, 6) for k, v in asdict(at_threshold(both, truth)).items()}
    return {
        "kind": "fasttext",
        "positive": split[0].label,
        "negative": split[1].label,
        "model": content,
        "settings": arguments,
        "data": {each.label: {"texts": len(each.learnt) + len(each.held_out), "digest": each.digest} for each in split},
        "held_out": {
            "texts": {each.label: len(each.held_out) for each in split},
            "threshold": 0.5,
            **measured,
            "auroc": round(auroc(both, truth), 6),
            "deciles": [round(each, 6) for each in deciles(both)],
        },
    }


def _markdown(card: Mapping[str, object]) -> str:
    """The card for a reader."""
    data, held, settings = card["data"], card["held_out"], card["settings"]
    assert isinstance(data, dict) and isinstance(held, dict) and isinstance(settings, dict)
    rows = [
        f"| {label} | {each['texts']} | {held['texts'][label]} | `{each['digest']}` |\n" for label, each in data.items()
    ]
    marks = "".join(f"| {10 * (i + 1)}% | {value:.6f} |\n" for i, value in enumerate(held["deciles"]))
    return (
        f"# fastText classifier: {card['positive']} or {card['negative']}\n\n"
        f"The score is the probability of `{card['positive']}`. Model file (xxh3-128): `{card['model']}`.\n\n"
        f"Settings: {', '.join(f'{k} {v}' for k, v in settings.items())}; one thread.\n\n"
        "| class | texts | held out | digest of the texts |\n| --- | --- | --- | --- |\n" + "".join(rows) + "\n"
        f"On the held-out texts, with a threshold of {held['threshold']}: precision {held['precision']:.3f},"
        f" recall {held['recall']:.3f}, F1 {held['f1']:.3f}. AUROC {held['auroc']:.3f}.\n\n"
        "| held-out texts below | score |\n| --- | --- |\n" + marks
    )
