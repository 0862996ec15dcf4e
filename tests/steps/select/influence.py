"""Settings in which what a selection by gradients promises can be seen, run by the steps of a pipeline.

The tests run them small, `benchmarks/selection_proofs.py` runs them in full. The language model is one of 166,000
parameters that is trained on the spot, on rows of FLAN-CoT that no setting uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import orjson
import torch

from curate.core.chat.messages import Conversation, Turn
from curate.core.dataset import Dataset
from curate.models.lm.chat_encode import Encoded, load_chat_encoder
from curate.models.lm.finetune.data import Row
from curate.models.lm.finetune.loop import Tuning, row_losses
from curate.models.lm.finetune.train import finetune_rows
from curate.models.lm.folder import load_causal_lm
from curate.models.lm.lora import Lora
from curate.models.lm.pretrain.train import train_causal_lm
from curate.models.stats import auroc
from curate.steps.select.store import Store
from tests.pipelines import run_yaml
from tests.steps.select.pools import flan, read_rows

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TASKS = ("creak", "ecqa", "sensemaking", "qasc")
TEMPLATE, CONTEXT = "tulu", 256
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")
LORA, TUNED = "lora: {rank: 8, alpha: 32, dropout: 0.0}", Lora(rank=8, alpha=32, dropout=0.0)


def train_base(shared: Path, folder: Path) -> str:
    """A small language model that has read the last 800 rows of four tasks, as turns; its folder."""
    texts = [
        (f"{task}-{i}", "".join(f"<|{turn.role}|>\n{turn.content}\n" for turn in each))
        for task in TASKS
        for i, each in enumerate(flan(shared, task, 10_000)[-800:])
    ]
    trained = train_causal_lm(
        texts,
        str(folder),
        vocabulary=1024,
        layers=2,
        width=64,
        heads=4,
        context=CONTEXT,
        tokens=200_000,
        batch_tokens=2048,
    )
    return trained.model


def write_rows(path: Path, conversations: Sequence[Conversation]) -> Path:
    """A file of conversations, a row each."""
    lines = [orjson.dumps({"messages": [turn._asdict() for turn in each]}) + b"\n" for each in conversations]
    path.write_bytes(b"".join(lines))
    return path


def column(data: Dataset, name: str) -> list[object]:
    """A column of a dataset, in the order of its rows."""
    return [
        each for shard in data.shards for batch in data.read(shard, [name]) for each in batch.column(name).to_pylist()
    ]


def model_of(base: str) -> torch.nn.Module:
    """The language model of a folder."""
    return cast(torch.nn.Module, load_causal_lm(base, device="cpu").model)


def tokens_of(base: str, conversations: Sequence[Conversation]) -> list[Row]:
    """Conversations as what a model is tuned on."""
    encoded = load_chat_encoder(base, template=TEMPLATE, context=CONTEXT)(conversations)
    return [Row(f"{i:05d}", cast(Encoded, each)) for i, each in enumerate(encoded)]


def loss_of(model: torch.nn.Module, row: Row) -> torch.Tensor:
    """The mean loss of a row's supervised tokens, by nothing but torch."""
    ids = torch.from_numpy(row.tokens.ids.astype(np.int64))
    logits = model(input_ids=ids[None]).logits[0, :-1]
    each = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    return each[torch.from_numpy(row.tokens.supervised[1:])].mean()


@dataclass(frozen=True)
class Steps:
    """How a step of training on each row changes the loss of other rows: as features predict it, and as it comes."""

    predicted: Floats
    changes: Floats

    @property
    def pearson(self) -> float:
        """The correlation of the two."""
        return float(np.corrcoef(self.predicted, self.changes)[0, 1])


def take_steps(shared: Path, base: str, folder: Path, *, rows: int, rate: float = 1e-3) -> Steps:
    """Take a step of gradient descent on each of some rows, in float64 and always from the model as it is.

    The prediction is minus the rate times the product of the row's gradient and the mean of those of 16 others, by
    the lengths and the directions in the stores of two `features` steps.
    """
    each = [flan(shared, task, rows // 5 + 4) for task in (*TASKS, "gsm8k")]
    given, held = [row for some in each for row in some[4:]], [row for some in each for row in some[:4]][:16]
    gradient = f"gradient: {{model: {base}, optimizer: none, template: {TEMPLATE}, context: {CONTEXT}, kind: float32}}"
    done = run_yaml(
        folder,
        f"""
        name: steps
        steps:
          given: {{read: {{path: {write_rows(folder / "given.jsonl", given)}, conversations: messages}}}}
          held: {{read: {{path: {write_rows(folder / "held.jsonl", held)}, conversations: messages}}}}
          given_gradients: {{features: {{from: given, {gradient}}}}}
          held_gradients: {{features: {{from: held, {gradient}}}}}
        """,
    )
    store, others = Store.open(done["given_gradients"]), Store.open(done["held_gradients"])
    mean = (others.take(range(len(others))) * others.norms[:, :, None]).mean(axis=0, keepdims=True)
    predicted = -rate * store.norms[:, 0] * store.scores(mean)[:, 0]
    model, held_rows = model_of(base).double(), tokens_of(base, held)
    weights = [each for name, each in model.named_parameters() if name.split(".")[-2] in LAYERS]
    before = [weight.detach().clone() for weight in weights]

    def held_loss() -> float:
        with torch.no_grad():
            return float(np.mean([loss_of(model, row).item() for row in held_rows]))

    start, changes = held_loss(), []
    for row in tokens_of(base, given):
        gradients = torch.autograd.grad(loss_of(model, row), weights)
        with torch.no_grad():
            for weight, gradient_of in zip(weights, gradients, strict=True):
                weight -= rate * gradient_of
        changes.append(held_loss() - start)
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
    return Steps(predicted, np.array(changes))


def find_mislabelled(shared: Path, base: str, folder: Path, *, rows: int, seed: int = 0) -> float:
    """How well self-influence finds the rows whose answer was flipped, one in ten: its AUROC.

    The rows ask for the language of a sentence, English or Russian, which a model soon tells apart.
    """
    chance = np.random.default_rng(seed)
    sentences = [
        (row["text"][:60], name)
        for row in read_rows(shared / "data" / "langid_lingua79.dev.jsonl.zst", 20_000)
        for name in {"en": ["English"], "ru": ["Russian"]}.get(row["lang"], [])
        if row["kind"] == "sentences"
    ]
    chosen = [sentences[i] for i in chance.permutation(len(sentences))[:rows]]
    flipped = np.zeros(len(chosen), np.bool_)
    flipped[chance.permutation(len(chosen))[: len(chosen) // 10]] = True
    other = {"English": "Russian", "Russian": "English"}
    asked = [
        (Turn("user", f"Which language? {text}"), Turn("assistant", other[name] if wrong else name))
        for (text, name), wrong in zip(chosen, flipped.tolist(), strict=True)
    ]
    done = run_yaml(
        folder,
        f"""
        name: mislabelled
        steps:
          pool: {{read: {{path: {write_rows(folder / "pool.jsonl", asked)}, conversations: messages}}}}
          warm:
            train:
              finetune:
                {{from: pool, model: {base}, template: {TEMPLATE}, context: {CONTEXT}, {LORA}, epochs: 3, lr: 1.0e-2, batch_rows: 8}}
          gradients: {{features: {{from: pool, gradient: {{model: {base}, warmup: warm, optimizer: none, dim: 2048}}}}}}
          suspects: {{select: {{from: pool, budget: 0.1, self_influence: {{features: gradients, order: highest}}}}}}
        """,
    )
    scores = np.array(column(done["suspects"], "score"), dtype=np.float64)
    return auroc(scores, flipped)


@dataclass(frozen=True)
class Planted:
    """What `less` finds of the rows on target, and the loss on others of the target after training on its picks.

    Attributes:
        precision: the part of the picks that is on target.
        inside_noise: the part of the picks that leads the cut by less than its error.
        loss, random, untrained: after training on the picks, on as many random rows, and before.
    """

    precision: float
    inside_noise: float
    loss: float
    random: float
    untrained: float


def find_planted(
    shared: Path,
    base: str,
    folder: Path,
    *,
    seed: int,
    rows: int = 400,
    epochs: int = 2,
    optimizer: str = "less",
    kind: str = "int8",
) -> Planted:
    """Select 5% of a pool of which 5% are grade-school mathematics (gsm8k), for 16 examples of it; then train on them.

    The rest is commonsense and science questions of the other four tasks.
    """
    chance = np.random.default_rng(seed)
    count = rows // 20
    # Questions that leave room for an answer in the model's context.
    maths = [each for each in flan(shared, "gsm8k", 800) if len(each[0].content) < 350]
    drawn = [maths[i] for i in chance.permutation(len(maths))[: count + 16 + 64]]
    planted, examples, held = drawn[:count], drawn[count : count + 16], drawn[count + 16 :]
    others = [each for task in TASKS for each in flan(shared, task, 284)]
    pool = planted + [others[i] for i in chance.permutation(len(others))[: rows - count]]
    gradient = f"model: {base}, warmup: warm, dim: 4096, kind: {kind}"
    done = run_yaml(
        folder,
        f"""
        name: planted
        steps:
          pool: {{read: {{path: {write_rows(folder / "pool.jsonl", pool)}, conversations: messages}}}}
          target: {{read: {{path: {write_rows(folder / "target.jsonl", examples)}, conversations: messages}}}}
          warm:
            train:
              finetune:
                {{from: pool, sample: 0.05, model: {base}, template: {TEMPLATE}, context: {CONTEXT}, {LORA}, epochs: {epochs},
                 lr: 1.0e-3, batch_rows: 4, seed: {seed}}}
          gradients: {{features: {{from: pool, gradient: {{{gradient}, optimizer: {optimizer}}}}}}}
          target_gradients: {{features: {{from: target, gradient: {{{gradient}, optimizer: none}}}}}}
          picks:
            select:
              {{from: pool, budget: 0.05, less: {{features: gradients, targets: target, target_features: target_gradients}}}}
          baseline: {{select: {{from: pool, budget: 0.05, random: {{seed: {seed}}}}}}}
        """,
    )
    model, held_rows, every = model_of(base), tokens_of(base, held), tokens_of(base, pool)
    tuning = Tuning(lora=TUNED, epochs=4, lr=1e-3, batch_rows=4, seed=seed)
    losses, taken = {}, {}
    for name in ("picks", "baseline"):
        taken[name] = np.flatnonzero(column(done[name], "keep"))
        tuned = finetune_rows(model, [every[i] for i in taken[name]], tuning)
        losses[name] = float(row_losses(tuned, held_rows).mean())
    return Planted(
        precision=float((taken["picks"] < count).mean()),
        inside_noise=cast(int, done["picks"].manifest.details["inside_noise"]) / count,
        loss=losses["picks"],
        random=losses["baseline"],
        untrained=float(row_losses(model, held_rows).mean()),
    )


@dataclass(frozen=True)
class Datamodels:
    """How the scores of a subset's rows, added up, order subsets by the loss after training on them.

    Attributes:
        correlations: Spearman's, one for each held-out example.
        chance: their mean for subsets that change places at random, many times.
    """

    correlations: Floats
    chance: Floats

    @property
    def score(self) -> float:
        """The linear datamodelling score."""
        return float(self.correlations.mean())

    @property
    def p(self) -> float:
        """How probable so high a score is by chance."""
        return float((1 + (self.chance >= self.score).sum()) / (1 + len(self.chance)))


def retrain_on_halves(
    shared: Path, base: str, folder: Path, *, subsets: int, rows: int, held: int, tasks: Sequence[str], epochs: int = 1
) -> Datamodels:
    """Train on random halves of a pool of some tasks, and compare with `less`'s scores (Park et al. 2023, TRAK).

    Args:
        shared, base, folder: the data, the model, and where to work.
        subsets: how many halves.
        rows, held: how many rows of each task are in the pool, and how many are held out.
        tasks: of FLAN-CoT.
        epochs: of every training.
    """
    pool = [each for task in tasks for each in flan(shared, task, rows)]
    others = [each for task in tasks for each in flan(shared, task, rows + held)[rows:]]
    tuned = f"template: {TEMPLATE}, context: {CONTEXT}, {LORA}, epochs: {epochs}, lr: 3.0e-3, batch_rows: 8"
    gradient = f"model: {base}, warmup: warm, dim: 4096"
    done = run_yaml(
        folder,
        f"""
        name: halves
        steps:
          pool: {{read: {{path: {write_rows(folder / "pool.jsonl", pool)}, conversations: messages}}}}
          held: {{read: {{path: {write_rows(folder / "held.jsonl", others)}, conversations: messages}}}}
          warm: {{train: {{finetune: {{from: pool, sample: 0.5, model: {base}, {tuned}}}}}}}
          gradients: {{features: {{from: pool, gradient: {{{gradient}}}}}}}
          held_gradients: {{features: {{from: held, gradient: {{{gradient}, optimizer: none}}}}}}
        """,
    )
    examples = Store.open(done["held_gradients"])
    scores = Store.open(done["gradients"]).scores(examples.take(range(len(examples))))
    model, every, held_rows = model_of(base), tokens_of(base, pool), tokens_of(base, others)
    chance = np.random.default_rng(0)
    summed, losses = np.zeros((subsets, len(others))), np.zeros((subsets, len(others)))
    for i in range(subsets):
        half = np.sort(chance.permutation(len(pool))[: len(pool) // 2])
        tuning = Tuning(lora=TUNED, epochs=epochs, lr=3e-3, batch_rows=8, seed=i)
        losses[i] = row_losses(finetune_rows(model, [every[k] for k in half], tuning), held_rows)
        summed[i] = scores[half].sum(axis=0)
    by_score, by_loss = (_ranks(each) for each in (summed, -losses))
    shuffled = [float((by_score[chance.permutation(subsets)] * by_loss).sum(axis=0).mean()) for _ in range(2000)]
    return Datamodels((by_score * by_loss).sum(axis=0), np.array(shuffled))


def _ranks(values: Floats) -> Floats:
    """The ranks of each column's values, of mean 0 and length 1: their product is Spearman's correlation."""
    places = np.argsort(np.argsort(values, axis=0), axis=0) - (len(values) - 1) / 2
    return cast(Floats, places / np.linalg.norm(places, axis=0))
