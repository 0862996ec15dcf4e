from __future__ import annotations

import csv
import functools
import io
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.config import BadValue, validate
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, RunError
from curate.core.step import Job, Result
from curate.steps.score.fasttext import quality
from curate.steps.train import step as training
from curate.steps.train.correlations import correlate, fill, ranks, read_matrix, read_scores
from curate.text.batch import TextBatch
from tests.conformance.published import rows
from tests.helpers import dataset, run_step, tree

SMALL = {"dim": 8, "bucket": 5000, "epoch": 60, "lr": 0.5, "held_out": 0.25}


def pairwise_sum(bits: list[float], scores: list[float]) -> float:
    """gamma as it is written down: over all pairs, with errors for y."""
    n = len(bits)
    cdf = [(sum(b < a for b in bits) + (sum(b == a for b in bits) + 1) / 2) / n for a in bits]
    total = 0.0
    for i, j in itertools.combinations(range(n), 2):
        total += float(np.sign(scores[i] - scores[j])) * (cdf[j] - cdf[i])
    return 2 / (n * (n - 1)) * total


VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12)


@given(VALUES)
def test_gamma_is_the_sum_over_all_pairs_of_models(pairs: list[tuple[int, int]]) -> None:
    bits, scores = ([float(each) for each in column] for column in zip(*pairs, strict=True))
    found = correlate(np.array([bits]), np.array(scores), "sign_cdf")[0]
    assert found == pytest.approx(pairwise_sum(bits, scores), abs=1e-12)


@given(VALUES, st.randoms())
def test_neither_the_order_of_the_models_nor_a_stretching_of_values_matters(
    pairs: list[tuple[int, int]], shuffle: object
) -> None:
    bits, scores = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    mixed = np.array(shuffle.sample(range(len(bits)), len(bits)))  # type: ignore[attr-defined]
    for estimator in ("sign_cdf", "spearman"):
        found = correlate(bits[None], scores, estimator)[0]
        assert correlate(np.exp(bits[mixed])[None], scores[mixed] ** 3, estimator)[0] == pytest.approx(found, abs=1e-12)
        assert correlate(-bits[None], scores, estimator)[0] == pytest.approx(-found, abs=1e-12)
        assert -1 <= found <= 1


def test_a_domain_that_better_models_need_fewer_bits_for_has_the_highest_gamma_there_is() -> None:
    n = 9
    bits = np.array([np.arange(n), np.arange(n)[::-1], np.ones(n)], dtype=np.float64)
    scores = -np.arange(n, dtype=np.float64)
    assert correlate(bits, scores, "sign_cdf").tolist() == pytest.approx([(n + 1) / (3 * n), -(n + 1) / (3 * n), 0])
    assert correlate(bits, scores, "spearman").tolist() == pytest.approx([1, -1, 0])
    assert correlate(bits, np.zeros(n), "sign_cdf").tolist() == [0, 0, 0]


def test_models_without_a_value_for_a_domain_are_left_out_of_it() -> None:
    bits = np.array([[1.0, math.nan, 2.0, 3.0], [math.nan, math.nan, math.nan, 1.0]])
    scores = np.array([3.0, 0.0, 2.0, 1.0])
    found = correlate(bits, scores, "sign_cdf")
    assert found[0] == correlate(bits[:1, [0, 2, 3]], scores[[0, 2, 3]], "sign_cdf")[0]
    assert np.isnan(found[1])


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_the_budget_goes_to_the_highest_gammas_each_up_to_its_cap() -> None:
    gammas, tokens = np.array([-0.3, 4, 1, 0.9, 0]), np.array([2, 5, 9, 4, 10])
    names = list("abcde")
    assert fill(gammas, names, tokens, budget=24, cap=2.0).tolist() == [0, 10, 14, 0, 0]
    assert fill(gammas, names, tokens, budget=99, cap=1.0).tolist() == tokens.tolist()
    assert fill(np.array([1.0, math.nan, 1.0]), ["b", "c", "a"], np.array([3, 3, 3]), budget=5, cap=1.0).tolist() == [
        2, 0, 3,
    ]  # fmt: skip


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 50)), max_size=8), st.integers(1, 200), st.floats(0.1, 3))
def test_no_budget_and_no_cap_is_exceeded(domains: list[tuple[float, int]], budget: int, cap: float) -> None:
    gammas, tokens = np.array([g for g, _ in domains]), np.array([t for _, t in domains], dtype=np.int64)
    taken = fill(gammas, [str(i) for i in range(len(domains))], tokens, budget=budget, cap=cap)
    assert (taken <= cap * tokens).all() and taken.sum() <= budget * (1 + 1e-12)


def test_scores_are_the_means_over_benchmarks_and_a_gap_leaves_the_model_out(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('model,arc,piqa\n"a, b",0.5,0.7\nc,0.5,\n')
    assert read_scores(str(tmp_path / "s.csv")) == {"a, b": pytest.approx(0.6)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a CSV file with a header"),
        ("domain\nx\n", "expected a CSV file with a header"),
        ("domain,a\n", "holds no domain"),
        ("domain,a,b\nx,1\n", "m.csv:2: 2 cells under a header of 3"),
        ("domain,a\nx,1\ny,high\n", "m.csv:3: 'high' is not a number"),
        ("domain,a\nx,inf\n", "not a number"),
        ("domain,a,a\nx,1,2\n", "the column 'a' is there twice"),
        ("domain,a\nx,1\nx,2\n", "the row 'x' is there twice"),
        ('domain,a\n"x,1\n', "is not CSV"),
        ("domain,a\nx,\xff\n", "not UTF-8"),
    ],
)
def test_a_matrix_of_the_wrong_shape_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=message):
        read_matrix(str(tmp_path / "m.csv"))


MATRIX = "domain,m1,m2,m3\nWikipedia (en),0.6,0.7,0.8\nGithub,0.9,0.8,0.7\nNot there,0.5,0.6,0.4\n"
SCORES = "model,benchmark\nm1,0.9\nm2,0.5\nm3,0.1\n"


def pool(root: Path, shared: Path, size: int) -> Dataset:
    documents = rows(shared, "pile_toy_dsir.dev.jsonl.zst")
    several = {
        "text": [r["text"] for r in documents] + ["no domain"],
        "domain": [r["domain"] for r in documents] + [None],
    }
    n = len(several["text"])
    return dataset(root, *({k: v[i : i + size] for k, v in several.items()} for i in range(0, n, size)))


def train(root: Path, data: Dataset, matrix: str = MATRIX, scores: str = SCORES, **args: object) -> Dataset:
    root.mkdir(exist_ok=True)
    (root / "m.csv").write_text(matrix)
    (root / "s.csv").write_text(scores)
    value = {"from": "p", "domain": "domain", "matrix": "m.csv", "scores": "s.csv", "budget": 0.5, "fasttext": SMALL}
    config = training.parse({"perplexity_correlations": {**value, **args}}, ())

    def run(job: Job) -> Result:
        job.models = {"matrix": str(root / "m.csv"), "scores": str(root / "s.csv")}
        return training.run(job, config)

    return run_step(root, functools.partial(run), {"from[0]": data}, config=config.identity())


def test_a_classifier_of_the_included_domains_comes_out_the_same_for_any_cut(shared: Path, tmp_path: Path) -> None:
    data = pool(tmp_path / "a", shared, 1000)
    names = Counter(str(row["domain"]) for row in rows(shared, "pile_toy_dsir.dev.jsonl.zst"))
    one = train(tmp_path / "1", data)
    found = one.manifest.details["card"]["correlations"]
    assert found["documents"] == {
        "known": names["Wikipedia (en)"] + names["Github"],
        "no-domain": 1,
        "unknown-domain": names.total() - names["Wikipedia (en)"] - names["Github"],
    }
    assert found["highest"][0] == ["Wikipedia (en)", pytest.approx(4 / 9)]
    assert found["lowest"][-1] == ["Github", pytest.approx(-4 / 9)]
    table = list(csv.DictReader(io.StringIO(Path(one.path("domains.csv")).read_text())))
    assert [row["domain"] for row in table] == ["Wikipedia (en)", "Not there", "Github"]
    assert sum(float(row["taken"]) for row in table) == pytest.approx(found["tokens"]["budget"])
    score = quality(model=one.path("model.bin"), label="include")
    texts = {
        name: [r["text"] for r in rows(shared, "pile_toy_dsir.dev.jsonl.zst") if r["domain"] == name] for name in names
    }
    wiki, github = (np.mean(score(TextBatch.of(texts[n]))[""].to_pylist()) for n in ("Wikipedia (en)", "Github"))
    assert wiki > github + 0.3
    two = train(tmp_path / "2", pool(tmp_path / "b", shared, 100))
    for name in one.manifest.files:
        assert Path(one.path(name)).read_bytes() == Path(two.path(name)).read_bytes()
    assert orjson.loads(Path(one.path("model.bin.json")).read_bytes())["positive"] == "include"
    assert tree(Path(one.folder)).keys() >= {"domains.csv", "model.bin", "manifest.json"}


def test_the_real_matrix_ends_in_a_model_that_knows_its_best_domains(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/perplexity_corr_bpb.dev.csv"
    matrix = read_matrix(str(path))
    # Its benchmark: few bits per byte on every other domain. A domain with a high gamma gets reviews for documents,
    # the others addresses and letters, as the texts of the matrix itself are not at hand.
    errors = matrix.values[::2].mean(axis=0)
    gammas = correlate(matrix.values, -errors, "sign_cdf")
    best = {matrix.domains[i] for i in np.argsort(-gammas)[:60]}
    prose = rows(shared, "hq_text.dev.jsonl.zst")
    reviews = iter([r["text"] for r in prose if r["source"] == "movie_reviews"])
    others = iter([r["text"][i : i + 3000] for r in prose if r["source"] in ("masc", "wikitext2") for i in (0, 3000)])
    names = [*matrix.domains, *sorted(best)]
    table = {"domain": names, "text": [" ".join(next(reviews if n in best else others).split()[:300]) for n in names]}
    scores = io.StringIO()
    csv.writer(scores).writerows([["model", "core"], *zip(matrix.models, -errors, strict=True)])
    out = train(tmp_path / "1", dataset(tmp_path / "p", table), path.read_text("utf-8"), scores.getvalue(), budget=0.37)
    found = out.manifest.details["card"]["correlations"]
    assert (found["models"], found["domains"]["known"]) == (90, 263)
    ranked = list(csv.DictReader(io.StringIO(Path(out.path("domains.csv")).read_text("utf-8"))))
    assert [row["included"] for row in ranked] == sorted((row["included"] for row in ranked), reverse=True)
    included = {row["domain"] for row in ranked if row["included"] == "yes"}
    assert 40 < len(included) <= 60 and included <= best
    score = quality(model=out.path("model.bin"), label="include")
    assert (
        found["highest"][0][1] == pytest.approx(gammas.max())
        and out.manifest.details["card"]["held_out"]["auroc"] > 0.8
    )
    assert score(TextBatch.of(["a film with a plot and a director"]))[""][0].as_py() > 0.5


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"scores": "model,b\nm1,1\nm4,0\n"}, ConfigError, "no column for the model 'm4'; known: m1, m2, m3"),
        ({"scores": "model,b\nm1,1\n"}, ConfigError, "at least 2 models are needed, 1 have scores; add others"),
        ({"budget": 1.0}, RunError, "2 domains of the pool are included and 0 excluded"),
        ({"matrix": "domain,m1,m2,m3\nnowhere,1,2,3\n"}, RunError, "0 domains of the pool are included"),
        ({"domain": "domian"}, (ConfigError, RunError), "no column 'domian'; did you mean 'domain'"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    shared: Path, tmp_path: Path, given: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(tmp_path / "1", pool(tmp_path / "a", shared, 300), **given)


def test_a_budget_that_is_neither_tokens_nor_a_fraction_is_refused() -> None:
    value = {"from": "p", "domain": "d", "matrix": "m", "scores": "s"}
    for budget in (0, 1.5, -0.1):
        with pytest.raises(BadValue, match="budget"):
            validate(training.METHODS["perplexity_correlations"], {**value, "budget": budget}, ())
