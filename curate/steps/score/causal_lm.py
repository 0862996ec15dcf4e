"""The scorer `causal_lm`: how well a causal language model, a folder on this machine, predicts a text.

    scorer = causal_lm(model="models/smol")
    scorer(TextBatch.of(["A page."]))[""]        # bits per byte, lower is better predicted

With L the sum of -log P(token | tokens before it) over a text: the loss is L / tokens, perplexity is its
exponential, and bits per byte are L / (ln 2 * bytes of the text in UTF-8), which can be compared between
models whose tokenizers differ. The first token is predicted from the model's first token (BOS, or EOS where
there is none), so that every token of the text counts.
"""

from __future__ import annotations

import math
from typing import Annotated

import pyarrow as pa

from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.models.lm.folder import load_causal_lm
from curate.models.lm.windows import perplexity, token_losses
from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch

# A longer context costs memory for its logits, and changes the mean over a page little.
MOST_CONTEXT = 2048
_DECIMALS = 6


def causal_lm(
    *,
    model: ModelFile,
    context: int | None = None,
    stride: int | None = None,
    max_chars: int | None = 100_000,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> Scorer:
    """Bits per byte `""`, mean negative log-likelihood of a token in nats `loss`, `perplexity`, and `tokens` (int32).

    A text without a token has 0 tokens and null for the rest, which is float64, rounded to 6 decimals. A loss above
    709 has the perplexity of 709, 8.2e307.

    Args:
        model: a folder with `config.json`, safetensors weights and a tokenizer, or a step that trains one.
        context: how many tokens a window reads; by default the model's context, 2,048 at most.
        stride: how far each window of a longer text begins after the last; half a context by default.
        max_chars: only so many characters of a text are scored; null scores all.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is out of range.
        ModelError: the folder is not there, not whole or not safe, or there is no GPU.
    """
    for name, value in (
        ("context", context),
        ("stride", stride),
        ("max_chars", max_chars),
        ("batch_tokens", batch_tokens),
    ):
        if value is not None and value < 1:
            raise ConfigError(f"causal_lm: {name} {value} is below 1; set a positive number")
    lm = load_causal_lm(model, device=device)
    reads = context or min(lm.context or MOST_CONTEXT, MOST_CONTEXT)
    if lm.context is not None and reads > lm.context:
        raise ConfigError(f"{lm.path}: the model reads {lm.context} tokens at once, not {reads}; lower `context:`")
    step = stride or max(1, reads // 2)
    if step > reads:
        raise ConfigError(f"causal_lm: a stride of {step} leaves tokens out of windows of {reads}; lower `stride:`")

    def score(batch: TextBatch) -> Columns:
        texts = [text[:max_chars] for text in batch.strings()]
        tokens = lm.encode(texts)
        losses = token_losses(lm, tokens, context=reads, stride=step, batch_tokens=batch_tokens)
        means: list[float | None] = []
        bits: list[float | None] = []
        for text, loss in zip(texts, losses, strict=True):
            total = math.fsum(loss)
            means.append(round(total / len(loss), _DECIMALS) if len(loss) else None)
            bits.append(round(total / math.log(2) / len(text.encode()), _DECIMALS) if len(loss) else None)
        perplexities = [None if mean is None else round(perplexity(mean), _DECIMALS) for mean in means]
        return {
            "": pa.array(bits, pa.float64()),
            "loss": pa.array(means, pa.float64()),
            "perplexity": pa.array(perplexities, pa.float64()),
            "tokens": pa.array([len(loss) for loss in losses], pa.int32()),
        }

    return score
