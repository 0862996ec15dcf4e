r"""Training a fastText classifier so that the same lines give the same bytes.

run_fasttext(["__label__a A text.\n", "__label__b Another.\n"], "model.bin", {"dim": 50, "epoch": 5}, seed=0)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping

import orjson
import xxhash

from curate.core.errors import RunError

PREFIX = "__label__"
# MALLOC_PERTURB_ fills new memory with the complement of its value: 255 makes it zero.
_PROGRAM = """
import json, sys, fasttext
fasttext.train_supervised(**json.loads(sys.argv[1])).save_model(sys.argv[2])
"""


def run_fasttext(lines: Iterable[str], saved: str, arguments: Mapping[str, int | float], seed: int) -> None:
    """Train on lines of a label and a text, in an order by hash, in a process in which glibc hands out zeroed memory.

    With one thread, fastText 0.9.3 sets only the first tenth of its input matrix and leaves in the rest what
    the memory held (`DenseMatrix::uniform`): other bytes every time, and often "Encountered NaN".
    """
    source = os.path.join(os.path.dirname(saved), "train.txt")
    with open(source, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(sorted(lines, key=lambda line: (text_hash(line, seed), line)))
    wanted = {"input": source, "thread": 1, "verbose": 0, "label": PREFIX, **arguments}
    command = [sys.executable, "-P", "-c", _PROGRAM, orjson.dumps(wanted).decode(), saved]
    done = subprocess.run(command, env={**os.environ, "MALLOC_PERTURB_": "255"}, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise RunError(f"fastText could not train ({reason}); lower lr, or lower dim and bucket if memory ran out")


def one_line(text: str) -> str:
    """A text as the model sees it: its lines joined by spaces, and no word that looks like a label."""
    return " ".join(text.strip().splitlines()).replace(PREFIX, "label ")


def text_hash(text: str, seed: int) -> int:
    """What the side and the place of a text depend on."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "replace"), seed)
