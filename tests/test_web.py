"""Real pages from end to end: WARC and JSONL in, a release out that loads, verifies and adds up."""

from __future__ import annotations

import gzip
from pathlib import Path

import datasets
import pytest
import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecordType

from curate.core.dataset import Dataset
from curate.core.funnel import funnel
from curate.steps.release.verify import verify
from tests.pipelines import run_yaml

pytestmark = pytest.mark.slow

WARCS = ("web_trafilatura.dev.warc.gz", "dolma_sample0.dev.warc.gz", "whirlwind.dev.warc.gz")
JSONL = "cc_clean_misc.dev.jsonl.zst"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> dict[str, Dataset]:
    data = shared / "data"
    inputs = ", ".join(str(data / name) for name in (*WARCS, JSONL))
    return run_yaml(
        tmp_path_factory.mktemp("web"),
        f"""
name: web
steps:
  docs: {{read: {{path: [{inputs}], shard_bytes: 1000000}}}}
  good: {{read: {{path: {data}/hq_text.dev.jsonl.zst}}}}
  poor: {{read: {{path: {data}/lowq_webtext_nltk.dev.jsonl.zst}}}}
  cls: {{train: {{fasttext: {{positive: good, negative: poor, bucket: 100000, dim: 16}}}}}}
  lm: {{train: {{ngram: {{from: good, order: 3}}}}}}
  clean: {{clean: {{from: docs, c4: {{variant: paper, terminal_punctuation: false}}, pii: {{}}}}}}
  scores:
    score:
      from: clean
      gopher_quality: {{}}
      gopher_repetition: {{}}
      fineweb: {{}}
      language: {{model: {data}/lid.176.ftz}}
      quality: {{model: cls, label: hq}}
      perplexity: {{model: lm}}
  copies: {{dedup: {{from: clean, exact: {{}}}}}}
  kept:
    filter:
      from: [clean, scores, copies]
      rules:
        - {{column: language, one_of: [en]}}
        - {{preset: gopher-quality}}
        - {{preset: c4-page-paper}}
        - {{column: perplexity, below: {{quantile: 0.9}}}}
  out: {{release: {{from: [clean, scores, kept], license: other, language: [en], rejected: true}}}}
""",
    )


def records(data: Path) -> int:
    """Pages in the WARC files and lines in the JSONL file, counted by another reader."""
    total = 0
    for name in WARCS:
        with gzip.open(data / name) as stream:
            total += sum(1 for _ in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=False))
    with zstandard.open(data / JSONL, "rt", encoding="utf-8") as stream:
        return total + sum(1 for _ in stream)


def test_the_funnel_adds_up_to_the_number_of_records(outputs: dict[str, Dataset], shared: Path) -> None:
    found = funnel(outputs["out"], outputs["out"].ancestors())
    assert found.adds_up()
    assert found.records == records(shared / "data")
    assert found.kept > 100 and sum(found.dropped.values()) > 100


def test_datasets_loads_the_release_and_verify_passes(outputs: dict[str, Dataset], tmp_path: Path) -> None:
    folder = Path(outputs["out"].folder) / "release"
    kept = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path))
    assert kept.num_rows == outputs["out"].rows
    assert {"id", "text", "source", "url", "quality", "perplexity"} <= set(kept.column_names)
    assert all(text.strip() for text in kept["text"])
    rejected = datasets.load_dataset(str(folder), "rejected", split="train", cache_dir=str(tmp_path))
    assert rejected.num_rows == outputs["out"].manifest.dropped
    assert verify(str(folder)) == []


def test_the_language_and_quality_of_what_is_kept_are_those_asked_for(outputs: dict[str, Dataset]) -> None:
    rules = outputs["kept"].manifest.details["rules"]
    assert isinstance(rules, list)
    (limit,) = [r["value"] for r in rules if isinstance(r, dict) and r["name"] == "perplexity-high"]
    for path in sorted((Path(outputs["out"].folder) / "release" / "data" / "default").glob("*.parquet")):
        table = datasets.Dataset.from_parquet(str(path))
        assert set(table["language"]) == {"en"}
        assert max(table["perplexity"]) < limit
