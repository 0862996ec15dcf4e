"""The feature `gradient`: which way a conversation would move a model, projected to a few thousand numbers.

    pool_gradients:
      features: {from: pool, gradient: {model: models/smol, warmup: warm}}
    target_gradients:
      features: {from: target, gradient: {model: models/smol, warmup: warm, optimizer: none}}

LESS (Xia et al. 2024, arXiv 2402.04333): at each checkpoint of a short fine-tuning, the gradient of the row's mean
loss over its supervised tokens, as the optimizer would apply it from its state there; of targets the gradient
itself. A checkpoint's weight is its epoch's mean learning rate, by the sum of all. Without `warmup` the gradients
are those of the model as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from curate.core.chat.messages import Conversation
from curate.core.config import RESOURCE
from curate.core.errors import ModelError
from curate.core.files import ModelFile
from curate.models.device import Device, square_root_, threads
from curate.models.lm.batching import batches
from curate.models.lm.chat_encode import ChatEncoder, Encoded, Refused, load_chat_encoder
from curate.models.lm.checkpoints import Checkpoint, load_checkpoint, model_hash, read_checkpoints
from curate.models.lm.folder import LanguageModel, load_causal_lm
from curate.models.lm.gradients import backward, linear_layers, make_batch
from curate.models.lm.lora import trained
from curate.steps.select.feature import Feature, Features, Featurise
from curate.steps.select.projection import PROJECTIONS, Name, Projection
from curate.steps.select.store import Kind

if TYPE_CHECKING:
    import torch

    from curate.steps.select.projection import Update

Optimizer = Literal["less", "adam", "none"]
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj"]
# LESS's constants, whatever the warm-up's own were.
_BETAS, _EPS = (0.9, 0.999), 1e-8
# At most so many logits at once, 4 bytes each, but always those of one row.
_LOGITS = 1 << 27


class Gradient(Feature):
    """Projected gradients of a causal language model.

    Attributes:
        model: its folder, or a step that trains one.
        warmup: a step that fine-tunes it, or the folder of the result, with its checkpoints.
        optimizer: what the gradient becomes: LESS's update, that of Adam, or none.
        layers: the last part of the names of the linear layers whose weights count; by default those that the
            warm-up's LoRA wraps, and q, k, v and o of other models.
        projection: how the gradient becomes `dim` numbers.
        dim: how many.
        seed: of the projection.
        template, context: as those of `load_chat_encoder`; by default the warm-up's.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.
    """

    kind: Kind = "int8"
    model: ModelFile
    warmup: ModelFile | None = None
    optimizer: Optimizer = "less"
    layers: list[str] | None = Field(None, min_length=1)
    projection: Name = "sparse"
    dim: int = Field(8192, ge=1, le=1 << 20)
    seed: int = Field(0, ge=0, lt=1 << 64)
    template: str | None = None
    context: int | None = Field(None, ge=2)
    batch_tokens: Annotated[int, RESOURCE] = Field(4096, ge=1)
    device: Annotated[Device, RESOURCE] = "auto"

    @model_validator(mode="after")
    def _arguments_fit(self) -> Gradient:
        if self.optimizer != "none" and self.warmup is None:
            raise ValueError(
                f"optimizer {self.optimizer} starts from the state that a `warmup:` left; name one, or set it to none"
            )
        if self.optimizer != "none" and self.projection == "two_sided":
            raise ValueError(
                f"projection two_sided never forms the gradient that optimizer {self.optimizer} needs;"
                " set one to sparse or the other to none"
            )
        return self

    def load(self, models: Mapping[str, str]) -> Featurise:
        """Load the model and see that the warm-up is its own."""
        path = models["model"]
        checkpoints: list[Checkpoint] = []
        template, context = self.template, self.context
        if self.warmup is not None:
            state = self.optimizer != "none"
            checkpoints = read_checkpoints(models["warmup"], model_hash(path), moments=state)
            template, context = template or checkpoints[0].template, context or checkpoints[0].context
        encoder = load_chat_encoder(path, template=template, context=context)
        return _Gradients(load_causal_lm(path, device=self.device), encoder, checkpoints, self)


class _Gradients:
    """See `curate.steps.select.feature.Featurise`. The weights of one checkpoint are in memory at a time."""

    def __init__(
        self, lm: LanguageModel, encoder: ChatEncoder, checkpoints: Sequence[Checkpoint], settings: Gradient
    ) -> None:
        self._lm, self._encoder, self._checkpoints, self._settings = lm, encoder, checkpoints, settings
        self._model = cast("torch.nn.Module", lm.model)
        self._projection: Projection = PROJECTIONS[settings.projection](settings.dim, settings.seed)
        self._trained = set(trained(self._model))
        self._there: Checkpoint | None = None
        self._model.requires_grad_(False)
        self.width = settings.dim
        rates = [each.rate for each in checkpoints] or [1.0]
        if not sum(rates) > 0:
            raise ModelError(f"{checkpoints[0].folder}: its learning rate was 0 all the time; train it again")
        self.weights: Sequence[float] = [rate / sum(rates) for rate in rates]

    def __call__(self, conversations: Sequence[Conversation]) -> Features:
        """The projected gradients at every checkpoint."""
        encoded = [_learnt(each) for each in self._encoder(conversations)]
        found = np.zeros((len(encoded), len(self.weights), self.width), np.float32)
        there = [(i, each) for i, each in enumerate(encoded) if isinstance(each, Encoded)]
        lengths = [len(each.ids) for _, each in there]
        tokens = min(self._settings.batch_tokens, _LOGITS // self._lm.vocabulary)
        with threads(1):
            for checkpoint, (layers, update) in enumerate(self._states()):
                for length, some in batches(lengths, self._encoder.context, tokens, self._lm.grain):
                    learnt = [there[each][1] for each in some]
                    found[[there[each][0] for each in some], checkpoint] = self._project(learnt, length, layers, update)
        wrong = np.flatnonzero(~np.isfinite(found).all(axis=(0, 2)))
        if len(wrong):
            place = self._checkpoints[wrong[0]].folder if self._checkpoints else self._lm.path
            raise ModelError(f"{place}: the model gives a row no finite gradient; get or train it again")
        return Features(
            found,
            [each if isinstance(each, Refused) else None for each in encoded],
            np.array([0 if isinstance(each, Refused) else len(each.ids) for each in encoded], np.int32),
        )

    def _project(
        self, rows: Sequence[Encoded], length: int, layers: Mapping[str, torch.nn.Linear], update: Update | None
    ) -> npt.NDArray[np.float32]:
        import torch

        into = torch.zeros(len(rows), self.width, device=self._lm.device)

        def sink(name: str, inputs: torch.Tensor, errors: torch.Tensor) -> None:
            self._projection.add(name, inputs, errors, into, update)

        batch = make_batch([(row.ids, _predicted(row)) for row in rows], length, device=self._lm.device)
        backward(self._model, layers, batch, sink)
        projected: npt.NDArray[np.float32] = into.cpu().numpy()
        return projected

    def _states(self) -> Iterator[tuple[Mapping[str, torch.nn.Linear], Update | None]]:
        """Put one checkpoint after the other into the model: its layers, and what becomes of a gradient there."""
        if not self._checkpoints:
            yield linear_layers(self._model, self._settings.layers or LAYERS), None
        for checkpoint in self._checkpoints:
            if self._there is not checkpoint:
                for name, parameter in self._model.named_parameters():
                    parameter.requires_grad_(name in self._trained)
                load_checkpoint(self._model, checkpoint)
                self._trained = set(trained(self._model))
                self._model.requires_grad_(False)
                self._there = checkpoint
            own = LAYERS if checkpoint.lora is None else checkpoint.lora.targets
            layers = linear_layers(self._model, self._settings.layers or own)
            frozen = next((name for name in layers if name not in self._trained), None)
            if frozen is not None:
                raise ModelError(f"{frozen} did not learn in the warm-up; `layers:` may name {', '.join(own)}")
            yield layers, make_update(self._settings.optimizer, checkpoint, list(layers), self._lm.device)


def _learnt(row: Encoded | Refused) -> Encoded | Refused:
    """A row that has a loss."""
    if isinstance(row, Encoded) and not len(_predicted(row)):
        return Refused("no-supervised-token", "of the tokens read only the first counts, which nothing predicts")
    return row


def _predicted(row: Encoded) -> npt.NDArray[np.int64]:
    """The supervised tokens but the first of the row."""
    return 1 + np.flatnonzero(row.supervised[1:])


def make_update(optimizer: Optimizer, checkpoint: Checkpoint, names: Sequence[str], device: str) -> Update | None:
    """What an optimizer in the state of a checkpoint makes of the gradients of some parameters; None: nothing.

    With m and v the moments, for a gradient g:

    - `less`: (0.9 m + 0.1 g) / sqrt(0.999 v + 0.001 g² + 1e-8), without bias correction, as LESS's code has it;
    - `adam` (Kingma and Ba 2015, algorithm 1): m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) of the new moments
      m' and v', which is what the step t that comes next subtracts from the parameter, by its learning rate.

    Raises:
        ModelError: the checkpoint has no moments of a parameter.
    """
    if optimizer == "none":
        return None
    there = checkpoint.moments()
    missing = next((name for name in names if name not in there), None)
    if missing is not None:
        raise ModelError(f"{checkpoint.folder}: has no moments of {missing}; train it again with `finetune`")
    (first, second), eps = (_BETAS, _EPS) if optimizer == "less" else (checkpoint.betas, checkpoint.eps)
    inside, outside = (eps, 0.0) if optimizer == "less" else (0.0, eps)
    step = checkpoint.step + 1
    one, two = (1.0, 1.0) if optimizer == "less" else (1 - first**step, 1 - second**step)
    # What does not depend on the gradient, once.
    moments = {
        name: (there[name][0].to(device) * (first / one), there[name][1].to(device) * (second / two) + inside)
        for name in names
    }

    def update(name: str, gradients: torch.Tensor) -> torch.Tensor:
        mean, square = moments[name]
        root = square_root_(gradients.square().mul_((1 - second) / two).add_(square)).add_(outside)
        return gradients.mul_((1 - first) / one).add_(mean).div_(root)

    return update
