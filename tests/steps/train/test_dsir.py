from __future__ import annotations

import functools
import math
from collections import Counter
from pathlib import Path

import orjson
import pytest

from curate.core.config import BadValue, validate
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ModelError, RunError
from curate.models.stats import auroc
from curate.steps.score.dsir import dsir
from curate.steps.train import step as training
from curate.steps.train.dsir import count_texts, log_weights, write_model
from curate.text.batch import TextBatch
from curate.text.rules.hashed_ngrams import HashedNgrams
from tests import helpers
from tests.conformance.published import rows
from tests.helpers import dataset, run_step, tree
from tests.pipelines import run_yaml

FAST = HashedNgrams("polynomial", 10_000)


def column(texts: list[str]) -> list[TextBatch]:
    return [TextBatch.of(texts)]


def train(root: Path, target: Dataset, raw: Dataset, workers: int = 1, **args: object) -> Dataset:
    config = training.parse({"dsir": {"target": "t", "raw": "r", **args}}, ())
    inputs = {"target[0]": target, "raw[0]": raw}
    return run_step(
        root,
        functools.partial(training.run, config=config),
        inputs,
        config=config.identity(),
        resources=Resources(workers=workers),
    )


def test_documents_of_the_targets_domain_get_the_higher_weights(shared: Path, tmp_path: Path) -> None:
    documents = rows(shared, "pile_toy_dsir.dev.jsonl.zst")
    names = {name for name, n in Counter(str(row["domain"]) for row in documents).items() if n >= 30}
    assert len(names) >= 3
    raw = count_texts(column([str(row["text"]) for row in documents]), FAST)
    for name in sorted(names):
        target = [str(row["text"]) for row in documents if row["domain"] == name][::2]
        write_model(str(tmp_path / "m"), FAST, log_weights(count_texts(column(target), FAST), raw))
        held_out = [row for row in documents if row["text"] not in target]
        scores = dsir(model=str(tmp_path / "m"))(TextBatch.of([str(row["text"]) for row in held_out]))[""]
        assert auroc(scores.to_numpy(), [row["domain"] == name for row in held_out]) > 0.75, name


def test_a_target_that_is_the_raw_pool_weighs_everything_alike() -> None:
    counts = count_texts(column(["some words here", "other words"]), FAST)
    assert log_weights(counts, 3 * counts).tolist() == pytest.approx([0.0] * 10_000, abs=1e-15)


def test_a_target_or_a_pool_without_a_word_is_refused() -> None:
    some, none = count_texts(column(["word"]), FAST), count_texts(column(["", " \n"]), FAST)
    with pytest.raises(RunError, match="the texts of `target` hold no word"):
        log_weights(none, some)
    with pytest.raises(RunError, match="the texts of `raw` hold no word"):
        log_weights(some, none)


TEXTS = [f"text {i} of the pool, number {i * i}" for i in range(60)]


def test_the_model_is_the_same_for_any_cut_into_shards(tmp_path: Path) -> None:
    whole = dataset(tmp_path / "w", {"text": TEXTS})
    parts = dataset(tmp_path / "p", *({"text": TEXTS[i : i + 7]} for i in range(0, 60, 7)))
    good = dataset(tmp_path / "g", {"text": ["good text", None]})
    one, other = train(tmp_path / "1", good, whole), train(tmp_path / "2", good, parts)
    for name in one.manifest.files:
        assert Path(one.path(name)).read_bytes() == Path(other.path(name)).read_bytes()
    card = orjson.loads(Path(one.path("model.dsir.json")).read_bytes())
    assert card == one.manifest.details["card"]
    assert card["data"]["target"] | {"digest": ""} == {"texts": 2, "ngrams": 3, "buckets": 3, "digest": ""}
    assert card["data"]["raw"]["texts"] == 60
    assert card["divergence"] > 0


@pytest.mark.slow
def test_the_model_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    parts = dataset(tmp_path / "p", *({"text": TEXTS[i : i + 20]} for i in range(0, 60, 20)))
    good = dataset(tmp_path / "g", {"text": ["good text"]})
    one, two = train(tmp_path / "1", good, parts), train(tmp_path / "2", good, parts, workers=2)
    assert tree(Path(one.folder)) == tree(Path(two.folder))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such model file"),
        (b"\x00\x01", "is not a DSIR model, or a damaged one .*; make one"),
        (b"[]", "is not a DSIR model"),
        (b'{"kind":"dsir","hash":"md5","log_weights":[0.0]}', "hash: .*sha256"),
        (b'{"kind":"dsir","hash":"sha256","log_weights":[]}', "log_weights"),
        (b'{"kind":"dsir","hash":"sha256","log_weights":[null]}', "log_weights.0: "),
        (b'{"kind":"dsir","hash":"sha256","log_weights":[NaN]}', "log_weights.0: "),
        (b'{"kind":"dsir","hash":"sha256","log_weights":[0.1,1e999]}', "log_weights.1: "),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, data: bytes | None, message: str) -> None:
    path = tmp_path / "m.dsir"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ModelError, match=message):
        dsir(model=str(path))
    with pytest.raises(ModelError, match="a folder, but this model is a file"):
        dsir(model=str(tmp_path))


def test_an_unknown_hash_or_no_bucket_is_refused() -> None:
    for args, message in (({"hash": "md5"}, "polynomial"), ({"buckets": 0}, "buckets")):
        with pytest.raises(BadValue, match=message):
            validate(training.METHODS["dsir"], {"target": "t", "raw": "r", **args}, ())


def test_a_pipeline_trains_scores_and_resamples(tmp_path: Path) -> None:
    prose = [f"The {a} {b} in the evening, and nobody came." for a in ("cat", "wind", "boy") for b in ("sat", "sang")]
    code = [f"def f{i}(x): return x[{i}] + {i} * y" for i in range(30)]
    for name, texts in (("good", prose[:3]), ("pool", code + prose)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps({"text": t}) + b"\n" for t in texts))
    outputs = run_yaml(
        tmp_path,
        f"""
name: t
steps:
  good: {{read: {{path: {tmp_path}/good.jsonl}}}}
  pool: {{read: {{path: {tmp_path}/pool.jsonl}}}}
  ratios: {{train: {{dsir: {{target: good, raw: pool}}}}}}
  scores: {{score: {{from: pool, dsir: {{model: ratios}}}}}}
  kept: {{filter: {{from: scores, rules: [{{column: dsir, sample: {{count: 6}}}}]}}}}
""",
    )
    assert [row["keep"] for row in helpers.rows(outputs["kept"])] == [False] * 30 + [True] * 6
    assert all(math.isfinite(float(str(row["dsir"]))) for row in helpers.rows(outputs["scores"]))
