"""Train a fastText classifier of any number of labels on little data, the same bytes every time.

    trained = train_labels([("Where is Ohio ?", "LOC"), ("Who was he ?", "HUM"), ...], "models/topics")
    trained.card["held_out"]["accuracy"]

`label_agreement` of the `verify` step reads the model, so do `weak_labels` and the scorer `language`. Which texts are
held out, and the order in which the others are learnt, depend on the seed and the texts and not on the order in which
they come. The settings are for tens to some thousands of rows: many epochs at a high rate, and few buckets.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import fasttext

from curate.core.errors import ConfigError, RunError
from curate.core.files import content_hash, join
from curate.models.fasttext.run import PREFIX, one_line, run_fasttext, text_hash
from curate.models.fasttext.train import MODEL_NAME, digest_of_lines, write_model
from curate.models.trained import Trained

MIN_ROWS = 2  # of a label: with one alone nothing can be learnt that is not the text itself


def train_labels(
    rows: Iterable[tuple[str, str]],
    out_dir: str,
    *,
    word_ngrams: int = 2,
    lr: float = 0.5,
    dim: int = 50,
    epoch: int = 50,
    min_count: int = 1,
    bucket: int = 50_000,
    held_out: float = 0.1,
    seed: int = 0,
) -> Trained:
    """Train with softmax; write `model.bin`, and its card as `model.bin.json` and `model.bin.md`.

    Of each label that part of the texts is held out, rounded, that `held_out` says: none of four, one of five by
    default. A text that has several labels is learnt with each of them and never held out; the card says how many.

    Args:
        rows: texts and labels; texts without a word are skipped.
        out_dir: a folder, local or remote.
        word_ngrams: up to how many words make a feature.
        lr: learning rate.
        dim: size of the vectors.
        epoch: passes over the data.
        min_count: words that occur less often are left out.
        bucket: hash buckets for n-grams of words.
        held_out: part of the texts, from 0 and below 1, that is not learnt but measured.
        seed: chooses held-out texts, order, and the library's random numbers.

    Raises:
        ConfigError: `held_out` makes no sense, or a label has white space in it.
        RunError: there are fewer than 2 labels, or a label has fewer than 2 rows, or the training diverges.
    """
    if not 0 <= held_out < 1:
        raise ConfigError(f"held_out {held_out}: the part that is measured is 0 or more and below 1")
    texts = _by_label(rows)
    several = {
        line for line, count in Counter(line for each in texts.values() for line in set(each)).items() if count > 1
    }
    measured = {label: _held_out(lines, several, held_out, seed) for label, lines in texts.items()}
    arguments: dict[str, int | float] = {
        **{"wordNgrams": word_ngrams, "lr": lr, "dim": dim, "epoch": epoch},
        **{"minCount": min_count, "bucket": bucket, "seed": seed},
    }
    learnt = [
        f"{PREFIX}{label} {line}\n" for label, lines in texts.items() for line in lines if line not in measured[label]
    ]
    model = join(out_dir, MODEL_NAME)
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, MODEL_NAME)
        run_fasttext(learnt, saved, arguments, seed)
        asked = [(label, line) for label in texts for line in sorted(measured[label])]
        names, _ = fasttext.load_model(saved).predict([line for _, line in asked], k=1) if asked else ([], None)
        said = [each[0].removeprefix(PREFIX) for each in names]
        card: dict[str, object] = {
            "kind": "labels",
            "labels": list(texts),
            "model": content_hash(saved),
            "settings": {**arguments, "held_out": held_out},
            "data": {label: {"texts": len(each), "digest": digest_of_lines(each)} for label, each in texts.items()},
            "several_labels": len(several),
            "held_out": measure([label for label, _ in asked], said),
        }
        write_model(saved, model, card, _markdown(card))
    return Trained(model, card)


def measure(truth: Sequence[str], said: Sequence[str]) -> dict[str, object]:
    """Accuracy, the mean F1 of the labels that `truth` has, and for each of them rows, precision, recall and F1.

    Accuracy and `macro_f1` are None where there is nothing to measure.
    """
    labels: dict[str, dict[str, float]] = {}
    for label in sorted(set(truth)):
        right = sum(a == b == label for a, b in zip(truth, said, strict=True))
        called, there = said.count(label), truth.count(label)
        labels[label] = {
            "texts": there,
            "precision": round(right / called, 6) if called else 0.0,
            "recall": round(right / there, 6),
            "f1": round(2 * right / (called + there), 6),
        }
    if not labels:
        return {"texts": 0, "accuracy": None, "macro_f1": None, "labels": {}}
    right = sum(a == b for a, b in zip(truth, said, strict=True))
    mean = sum(each["f1"] for each in labels.values()) / len(labels)
    accuracy = round(right / len(truth), 6)
    return {"texts": len(truth), "accuracy": accuracy, "macro_f1": round(mean, 6), "labels": labels}


def _by_label(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The lines of each label, labels in order."""
    found: dict[str, list[str]] = {}
    for text, label in rows:
        name, line = label.removeprefix(PREFIX), one_line(text)
        if not name or name.split() != [name]:
            raise ConfigError(f"the label {label!r}: fastText takes no white space in a label; write it with _ or -")
        if line.strip():
            found.setdefault(name, []).append(line)
    if len(found) < 2:
        seen = f"only {next(iter(found))!r}" if found else "no row with a text and a label"
        raise RunError(f"training needs two labels at least, and there is {seen}; see `label:`, and give more rows")
    few = sorted((len(set(lines)), label) for label, lines in found.items() if len(set(lines)) < MIN_ROWS)
    if few:
        seen = ", ".join(repr(label) for _, label in few)
        raise RunError(
            f"training needs {MIN_ROWS} different texts of each label, and there is one of {seen}; give more of it,"
            " or leave it out"
        )
    return dict(sorted(found.items()))


def _held_out(lines: Sequence[str], several: set[str], part: float, seed: int) -> set[str]:
    """The texts of a label that are not learnt, by their hashes: `part` of the different ones, rounded; one stays."""
    different = sorted(set(lines) - several, key=lambda line: (text_hash(line, seed), line))
    count = int(part * len(different) + 0.5)
    return set(different[: min(count, len(set(lines)) - 1)])


def _markdown(card: Mapping[str, object]) -> str:
    """The card for a reader."""
    data, held, settings = card["data"], card["held_out"], card["settings"]
    assert isinstance(data, dict) and isinstance(held, dict) and isinstance(settings, dict)
    measured = held["labels"]
    rows = []
    for label, each in data.items():
        found = measured.get(label)
        figures = f"{found['texts']} | {found['f1']:.3f}" if found else "0 |"
        rows.append(f"| {label} | {each['texts']} | {figures} | `{each['digest']}` |\n")
    measured_on = (
        f"On the {held['texts']} held-out texts: accuracy {held['accuracy']:.3f}, macro-F1 {held['macro_f1']:.3f}."
        if held["texts"]
        else "No text was held out, so nothing was measured."
    )
    return (
        f"# fastText classifier of {len(data)} labels\n\nModel file (xxh3-128): `{card['model']}`.\n\n"
        f"Settings: {', '.join(f'{k} {v}' for k, v in settings.items())}; one thread, softmax.\n\n"
        "| label | texts | held out | F1 | digest of the texts |\n| --- | --- | --- | --- | --- |\n"
        + "".join(rows)
        + f"\n{measured_on} {card['several_labels']} texts have several labels.\n"
    )
