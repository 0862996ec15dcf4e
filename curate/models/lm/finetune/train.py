"""Fine-tune a causal language model on conversations: in memory, or into a folder with a checkpoint an epoch.

    tuned = finetune_rows(model, rows, Tuning(epochs=2, lr=1e-3))        # another model; `model` stays as it was
    mean_loss(tuned, held_out)

    trained = train_finetune(rows, "models/tuned", model="models/smol", tuning=Tuning(), context=1024)
    trained.model                                # models/tuned/model, with checkpoints/ below it

The bytes are the same for the same rows, settings, number of threads and build of torch, on one kind of processor,
whether or not the training was stopped and gone on with. The sampled conversations are held in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import orjson

from curate.core.chat.messages import Conversation
from curate.core.digest import Plain
from curate.core.files import join
from curate.models.device import Device, choose, require
from curate.models.lm.chat_encode import TEMPLATES, load_chat_encoder
from curate.models.lm.checkpoints import Checkpoint, model_hash, write_checkpoint
from curate.models.lm.finetune.data import Row, Split, encode_rows
from curate.models.lm.finetune.loop import Epoch, Point, Tuning, fit, mean_loss
from curate.models.lm.folder import Config, Tokenizer, check_folder, load_errors, load_model, read_config
from curate.models.lm.lora import merge, trained
from curate.models.lm.loss_curve import Row as CurveRow
from curate.models.lm.loss_curve import rounded
from curate.models.lm.save import MODEL, Saved, write_trained
from curate.models.trained import Trained

if TYPE_CHECKING:
    import torch

POINTS = 10


class _Configured(Protocol):
    config: Config


class _ChatTokenizer(Tokenizer, Protocol):
    chat_template: str


def finetune_rows(
    model: torch.nn.Module, rows: Sequence[Row], tuning: Tuning, *, device: str = "cpu"
) -> torch.nn.Module:
    """A copy of a model, tuned on some rows and merged; nothing is written.

    Args:
        model: on `device`, not wrapped; it is not changed.
        rows: what is learnt.
        tuning: how.
        device: `cpu` or `cuda`.
    """
    tuned = copy.deepcopy(model)
    fit(tuned, rows, tuning, device=device)
    merge(tuned)
    return tuned


def train_finetune(
    rows: Iterator[tuple[str, Conversation]],
    out_dir: str,
    *,
    model: str,
    tuning: Tuning,
    template: str | None = None,
    context: int | None = None,
    held_out: float = 0.0,
    threads: int = 1,
    device: Device = "auto",
    scratch: str | None = None,
    checkpoint_every: int = 100,
) -> Trained:
    """Tune a model, and write it merged as `model/`, its checkpoints below, `model.json`, `loss.csv` and `loss.svg`.

    Args:
        rows: pairs of id and conversation.
        out_dir: a folder, local or remote.
        model: the folder of a causal language model.
        tuning: how.
        template: a name of a chat template; None for the tokenizer's own.
        context: how many tokens of a conversation are read; the model's by default, 2,048 at most.
        held_out: the part of the conversations, from 0 to below 1, that is not learnt but measured.
        threads: of torch; another number may give other bytes.
        device: `auto` takes the GPU where there is one, which gives other bytes than a CPU.
        scratch: a folder for the state of the training, from which it goes on; none by default.
        checkpoint_every: steps between two states.

    Raises:
        ModelError: the packages, the model or the GPU are not there, or LoRA does not fit the model.
        RunError: too few conversations, or a loss that is not finite.
    """
    require()
    path = check_folder(model)
    encoder = load_chat_encoder(path, template=template, context=context)
    with load_errors(path):
        config = read_config(path)
        tuned = cast("torch.nn.Module", load_model(path, config, "CausalLM"))
    split = encode_rows(encoder, rows, held_out=held_out, seed=tuning.seed)
    where = choose(device)
    tuned.to(where)
    base = model_hash(path)
    settings: dict[str, Plain] = {
        # Only these: a step's own config says, beside them, where things lie and what the work may use.
        **tuning.model_dump(mode="json", include=Tuning.model_fields.keys() - {"full", "lora"}),
        "lora": None if tuning.full else tuning.lora.model_dump(mode="json"),
        **{"template": template, "context": encoder.context, "held_out": held_out, "threads": threads},
    }
    first, second = tuning.betas

    def at_epoch(epoch: Epoch) -> None:
        checkpoint = Checkpoint(
            base=base,
            lora=None if tuning.full else tuning.lora,
            template=template,
            context=encoder.context,
            epoch=epoch.number,
            step=epoch.step,
            rate=epoch.rate,
            betas=(first, second),
            eps=tuning.eps,
        )
        write_checkpoint(join(out_dir, MODEL), checkpoint, trained(tuned), epoch.moments)

    def measure() -> float:
        return mean_loss(tuned, split.held_out, device=where) if split.held_out else float("nan")

    before = measure()
    curve = fit(
        tuned,
        split.learnt,
        tuning,
        device=where,
        measure=measure,
        points=POINTS,
        at_epoch=at_epoch,
        scratch=scratch,
        checkpoint_every=checkpoint_every,
        identity=orjson.dumps([settings, base, split.digest, _torch(), where]).decode(),
        cores=threads,
    )
    learnt = trained(tuned)
    card: dict[str, Plain] = {
        "kind": "finetune",
        "parameters": sum(each.numel() for each in tuned.parameters()),
        "trained": sum(each.numel() for each in learnt.values()),
        "settings": settings,
        "base": base,
        "torch": _torch(),
        "data": _data(split),
        "learnt": {"steps": curve[-1].step, "tokens": curve[-1].tokens, "loss": rounded(curve[-1].train_loss)},
        "held_out": {
            "conversations": len(split.held_out),
            "loss_before": rounded(before),
            "loss": rounded(curve[-1].held_out_loss),
        },
    }
    merge(tuned)
    tuned.to("cpu")
    _restore_cache(cast(_Configured, tuned), config)
    tokenizer = cast(_ChatTokenizer, encoder.tokenizer)
    if template is not None:
        # What it was tuned with is how it has to be asked.
        tokenizer.chat_template = TEMPLATES[template]
    return Trained(join(out_dir, MODEL), write_trained(out_dir, cast(Saved, tuned), tokenizer, card, _rows(curve)))


def _rows(curve: Sequence[Point]) -> list[CurveRow]:
    return [
        {
            "step": each.step,
            "tokens": each.tokens,
            "train_loss": rounded(each.train_loss),
            "held_out_loss": rounded(each.held_out_loss),
        }
        for each in curve
    ]


def _data(split: Split) -> dict[str, Plain]:
    every = [*split.learnt, *split.held_out]
    return {
        "conversations": len(every) + sum(split.left_out.values()),
        "left_out": dict(split.left_out),
        "cut": sum(row.tokens.cut > 0 for row in every),
        "tokens": sum(len(row.tokens.ids) for row in every),
        "supervised_tokens": sum(int(row.tokens.supervised.sum()) for row in every),
        "digest": split.digest,
    }


def _restore_cache(model: _Configured, config: Config) -> None:
    """Have the model say of its cache what it said, not what is best while it learns."""
    said = getattr(config.get_text_config(), "use_cache", True)
    model.config.get_text_config().use_cache = said  # type: ignore[attr-defined]  # some kinds of model have no such flag


def _torch() -> str:
    import torch

    return str(torch.__version__)
