"""What neural models compute with portable bits, as one hash a kind of computation.

qemu-x86_64 -cpu Haswell .venv/bin/python -m tests.models.portable ../shared/models/tiny-llama ENCODER
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

from curate.core import bits

if "MKL_CBWR" not in os.environ:  # by hand; before numpy and torch are imported, which read it
    os.environ.update(bits.PORTABLE)

import numpy as np
import torch

from curate.core.chat.messages import Turn
from curate.models.device import product_rows, square_root_, threads
from curate.models.encoder.encoder import load_encoder
from curate.models.encoder.fit_head import _solve
from curate.models.encoder.head import Settings
from curate.models.lm.chat_encode import load_chat_encoder
from curate.models.lm.finetune.data import Row
from curate.models.lm.finetune.loop import Tuning, fit
from curate.models.lm.folder import load_causal_lm
from curate.models.lm.lora import Lora, trained
from curate.models.lm.windows import token_losses

TEXTS = ["The garden was quiet.", "Nobody knew that it would be back with the wind, and soon, and for good.", "Water"]


def compute(model: str, encoder: str) -> dict[str, str]:
    """The hash of the numbers of each kind of computation."""
    found: dict[str, str] = {}

    def keep(name: str, *arrays: np.ndarray) -> None:
        data = b"".join(np.ascontiguousarray(each).tobytes() for each in arrays)
        found[name] = hashlib.sha256(data).hexdigest()[:16]

    lm = load_causal_lm(model, device="cpu")
    keep("losses", *token_losses(lm, lm.encode(TEXTS), context=64, stride=32, batch_tokens=256))
    embeddings = load_encoder(encoder, context=32, device="cpu").embed(TEXTS * 4)
    keep("embeddings", embeddings)
    keep("head", _solve(embeddings, np.arange(12.0), 0.1, Settings(0, 5, 3, 32)).weight)
    keep("numpy", np.exp(embeddings), embeddings @ embeddings[0], np.einsum("ij,ij->i", embeddings, embeddings))
    chat = load_chat_encoder(model, template=None, context=64)
    rows = chat([[Turn("user", "Which colour has the sky?"), Turn("assistant", text)] for text in TEXTS])
    settings = Tuning(epochs=2, batch_rows=2, lr=1e-3, lora=Lora(rank=8, alpha=16))
    fit(lm.model, [Row(str(i), each) for i, each in enumerate(rows)], settings, device="cpu")
    keep("tuned", *(each.detach().numpy() for each in trained(lm.model).values()))
    with threads(1):
        keep("roots", square_root_(torch.rand(999, generator=torch.Generator().manual_seed(0))).numpy())
    return found


if __name__ == "__main__":
    hashes = compute(*sys.argv[1:])
    print(json.dumps({"bits": hashes, "rows": product_rows(), "capability": torch.backends.cpu.get_cpu_capability()}))
