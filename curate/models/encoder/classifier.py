"""A sequence classifier: a few numbers for a whole sequence, as reward models and quality classifiers give them.

    judge = load_classifier("models/reward", device="auto")
    judge.logits([{"input_ids": [0, 17, 21]}], batch_tokens=8192)     # float64 (1, len(judge.labels))

The layer above the states works on one row of each sequence, and the bits of a product of one row may differ from
those of several. So on a CPU each sequence is computed alone and unpadded, and its company changes no bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.models.device import Device, choose, threads
from curate.models.lm.batching import LANES, padded, shaped_batches
from curate.models.lm.folder import Tokenizer, context_of, load_whole

if TYPE_CHECKING:
    import torch

# What a tokenizer says of a sequence, by the name under which a model takes it: `input_ids`, and the types of tokens.
Sequenced = Mapping[str, Sequence[int]]


class _Output(Protocol):
    @property
    def logits(self) -> torch.Tensor: ...


class _Model(Protocol):
    def __call__(self, **inputs: torch.Tensor) -> _Output: ...
    def to(self, device: str) -> _Model: ...


class _Config(Protocol):
    id2label: Mapping[int, str]
    pad_token_id: int | None


class _Limited(Protocol):
    model_max_length: int


@dataclass(frozen=True)
class Classifier:
    """A classifier, ready to judge.

    Attributes:
        path: its folder.
        model: float32, on `device`.
        tokenizer: of the model.
        labels: what each logit stands for.
        context: how many tokens it may read at once; None where its files do not say.
        pad: the token that a sequence is filled up with; None where there is none.
        device: `cpu` or `cuda`.
    """

    path: str
    model: _Model
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    context: int | None
    pad: int | None
    device: str

    def logits(self, sequences: Sequence[Sequenced], *, batch_tokens: int) -> npt.NDArray[np.float64]:
        """The logits of each sequence, float64 (sequences, labels).

        Raises:
            ModelError: the model returns something that is not finite.
        """
        found = np.zeros((len(sequences), len(self.labels)))
        alone = self.device == "cpu" or self.pad is None
        lengths = [len(each["input_ids"]) for each in sequences]
        shapes = [(each if alone else padded(each, self.context or each + 8),) for each in lengths]
        with threads(1):
            for (length,), some in shaped_batches(shapes, batch_tokens, grain=0 if alone else LANES):
                found[some] = self._logits([sequences[i] for i in some], length)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.path}: the model gives a sequence no finite number; get it again")
        return found

    def _logits(self, some: Sequence[Sequenced], length: int) -> npt.NDArray[np.float64]:
        import torch

        given: dict[str, torch.Tensor] = {}
        for name in ("attention_mask", *some[0]):
            values = np.full((len(some), length), (self.pad or 0) if name == "input_ids" else 0, dtype=np.int64)
            for row, each in enumerate(some):
                size = len(each["input_ids"])
                values[row, :size] = 1 if name == "attention_mask" else each[name]
            given[name] = torch.from_numpy(values).to(self.device)
        with torch.inference_mode():
            logits: npt.NDArray[np.float64] = self.model(**given).logits.double().cpu().numpy()
        return logits


def load_classifier(path: str, *, device: Device) -> Classifier:
    """Load a sequence classifier and its tokenizer, in float32.

    Raises:
        ModelError: the folder is not safe or not whole, or holds another kind of model.
    """
    path, config, loaded, tokenizer = load_whole(path, "SequenceClassification")
    model = cast(_Model, loaded)
    known = cast(_Config, config)
    # Some count two more positions than they have: their tokenizer knows.
    limits = (context_of(config), cast(_Limited, tokenizer).model_max_length)
    where = choose(device)
    return Classifier(
        path=path,
        model=model.to(where),
        tokenizer=tokenizer,
        labels=tuple(known.id2label[i] for i in range(len(known.id2label))),
        context=min((each for each in limits if each), default=None),
        pad=known.pad_token_id,
        device=where,
    )
