from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curate.core.config import BadValue
from curate.core.dataset import Dataset, write_manifest
from curate.core.digest import RowDigest
from curate.core.engine.local import LocalEngine
from curate.core.errors import ConfigError, RunError
from curate.steps.release.card import feature
from curate.steps.release.leaks import refuse_leaks
from curate.steps.release.parquet import ReleaseFile
from curate.steps.release.provenance import with_trainers
from curate.steps.release.sources import Sources, plan_files
from curate.steps.release.step import parse
from curate.steps.release.verify import verify
from tests.helpers import dataset, rows, tree
from tests.steps.release.small import RULES, Small, small_run, texts, write_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"), texts())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Small:
    run = small_run(tmp_path_factory.mktemp("run") / "demo", inputs)
    run.release(rejected=True, file_bytes=1000, pretty_name="Tiny | <demo>", language=["en"])
    return run


def release_folder(small: Small, name: str = "out") -> Path:
    return Path(small.done[name].folder) / "release"


def card_of(folder: Path) -> tuple[dict[str, object], str]:
    _, head, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), body


def test_datasets_loads_both_configs_and_the_counts_agree(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = release_folder(small)
    kept = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path))
    dropped = datasets.load_dataset(str(folder), "rejected", split="train", cache_dir=str(tmp_path))
    assert kept.column_names == ["id", "text", "source", "site", "length", "share"]
    assert dropped.column_names == ["id", "text", "source", "reason"]
    manifest = small.done["out"].manifest
    assert (len(kept), len(dropped)) == (manifest.rows, manifest.dropped) == (36, 23)
    info = {each["config_name"]: each["splits"][0]["num_examples"] for each in card_of(folder)[0]["dataset_info"]}
    assert info == {"default": 36, "rejected": 23}


def test_exactly_the_kept_rows_are_published_with_their_own_text_and_scores(small: Small) -> None:
    keep = {row["id"] for row in rows(small.done["kept"]) if row["keep"]}
    text = {row["id"]: (row["text"], row["source"], row["site"]) for row in rows(small.done["docs"])}
    length = {row["id"]: row["length"] for row in rows(small.done["scores"])}
    published = rows(small.done["out"])
    assert [row["id"] for row in published] == [i for i in text if i in keep]
    assert all((row["text"], row["source"], row["site"]) == text[row["id"]] for row in published)
    assert all(row["length"] == length[row["id"]] == len(row["text"]) for row in published)


def test_every_row_is_accounted_for(small: Small) -> None:
    manifest = small.done["out"].manifest
    assert manifest.rows_in == small.done["docs"].rows == 60
    assert manifest.counts == {
        "dropped:exact-duplicate": 6,
        "dropped:share-high": 6,
        "dropped:too-short": 11,
    }
    assert (manifest.rows, manifest.dropped, manifest.absent) == (36, 23, 1)


def test_the_funnel_of_the_card_adds_up_to_what_was_read(small: Small) -> None:
    _, body = card_of(release_folder(small))
    table = body.split("## Where the records went")[1].split("## ")[0]
    cells = [[cell.strip(" *") for cell in line.split("|")[1:3]] for line in table.splitlines() if line.startswith("|")]
    counts = {name: int(count.replace(",", "")) for name, count in cells[2:]}
    assert counts.pop("read") == 61 == sum(counts.values())
    assert counts["put aside by docs, each with an error"] == counts["put aside by scores, each with an error"] == 1
    assert counts["kept"] == 36


def test_the_card_escapes_the_title_and_names_the_thresholds(small: Small) -> None:
    head, body = card_of(release_folder(small))
    assert head["pretty_name"] == "Tiny | <demo>"
    assert head["license"] == "cc-by-4.0"
    assert head["size_categories"] == ["n<1K"]
    assert "# Tiny &#124; &#60;demo&#62;" in body
    assert "| too-short | length | at least 100 | 11 | 12 |" in body


def test_files_follow_from_the_manifests_and_have_one_schema(small: Small) -> None:
    files = sorted((release_folder(small) / "data" / "default").iterdir())
    assert len(files) > 2
    assert [file.name for file in files] == [f"train-{i:05d}-of-{len(files):05d}.parquet" for i in range(len(files))]
    assert len({pq.read_schema(file).to_string() for file in files}) == 1


def test_shards_are_grouped_into_files_of_the_size_asked_for(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", *({"text": ["x" * 8000], "source": ["a"]} for _ in range(6)))
    # A shard has about 8 kB, of which zstd leaves 3 kB.
    tasks = plan_files(Sources.of({"from[0]": docs}), "train", 9000)
    assert [len(task.shards) for task in tasks] == [3, 3]
    assert [shard for task in tasks for shard in task.shards] == [shard.name for shard in docs.shards]


def test_the_same_inputs_give_the_same_bytes_wherever_and_by_however_many_workers(tmp_path: Path, inputs: Path) -> None:
    trees = []
    for name, workers in (("one", 1), ("two", 2)):
        run = small_run(tmp_path / name / "demo", inputs)
        run.workers = workers
        run.release(rejected=True, file_bytes=1000)
        trees.append(tree(Path(run.done["out"].folder)))
    assert trees[0] == trees[1]
    assert len(trees[0]) > 10


class StopsAfterOne(LocalEngine):
    """Is killed when the first item is done."""

    def map(self, make, items, *, resources, label):  # type: ignore[no-untyped-def]  # as its base
        yield next(iter(super().map(make, items, resources=resources, label=label)))
        raise KeyboardInterrupt


def test_a_release_that_was_killed_goes_on_and_gives_the_same_bytes(tmp_path: Path, inputs: Path) -> None:
    whole = small_run(tmp_path / "whole" / "demo", inputs)
    whole.release(rejected=True, file_bytes=1000)
    killed = small_run(tmp_path / "killed" / "demo", inputs)
    killed.engine = StopsAfterOne()
    with pytest.raises(KeyboardInterrupt):
        killed.release(rejected=True, file_bytes=1000)
    assert not list((tmp_path / "killed").rglob("MANIFEST.json"))
    (half,) = (tmp_path / "killed").glob("demo/out-*/release/data/default")
    (half / ".train.parquet.0badcafe.tmp").write_bytes(b"half a file")
    killed.engine = LocalEngine()
    killed.release(rejected=True, file_bytes=1000)
    assert tree(Path(killed.done["out"].folder)) == tree(Path(whole.done["out"].folder))


def test_the_manifest_digests_rows_and_not_the_way_they_are_written(small: Small) -> None:
    folder = release_folder(small)
    listed = json.loads((folder / "MANIFEST.json").read_bytes())["files"]
    first = next(each for each in listed if each["path"].startswith("data/default"))
    table = pq.read_table(folder / first["path"])
    digest = RowDigest()
    for batch in table.to_batches(max_chunksize=5):
        digest.update(batch)
    assert digest.hexdigest() == first["digest"]


def test_row_groups_are_cut_by_bytes_and_have_a_page_index(tmp_path: Path) -> None:
    table = pa.table({"id": [str(i) for i in range(200)], "text": ["x" * 2000] * 200})
    with ReleaseFile(str(tmp_path), "a.parquet", table.schema, group_bytes=100_000, batch_rows=16) as out:
        out.write(table)
    written = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [written.row_group(i).num_rows for i in range(written.num_row_groups)] == [64, 64, 64, 8]
    assert [group.rows for group in out.entry().groups] == [64, 64, 64, 8]
    assert written.row_group(0).column(1).has_offset_index


def test_provenance_has_every_step_and_no_path_of_this_machine(small: Small, tmp_path: Path) -> None:
    folder = release_folder(small)
    names = {path.name.rsplit("-", 1)[0] for path in (folder / "provenance").glob("*-*.json")}
    assert names == {"docs", "scores", "dups", "kept"}
    for path in [*folder.glob("provenance/*.json"), folder / "README.md", folder / "MANIFEST.json"]:
        assert str(small.root.parent) not in path.read_text()


def test_without_a_filter_everything_is_published(tmp_path: Path) -> None:
    run = Small(tmp_path / "demo")
    run.read(write_inputs(tmp_path / "in", texts(12), 1))
    out = run.release(**{"from": "docs", "rejected": True})
    assert (out.rows, out.manifest.dropped) == (12, 0)
    assert not list(Path(out.folder).rglob("data/rejected/*.parquet"))
    assert [each["config_name"] for each in card_of(release_folder(run))[0]["configs"]] == ["default"]


def test_a_file_whose_rows_were_all_dropped_does_not_stop_the_others_from_loading(tmp_path: Path) -> None:
    run = Small(tmp_path / "demo")
    documents = [f"{i} " * (5 if i % 3 == 0 else 90) for i in range(30)]
    run.read(write_inputs(tmp_path / "in", documents, 3), shard_bytes=1)
    run.score()
    run.dedup()
    run.filter([{"column": "length", "at_least": 100, "name": "too-short"}])
    run.release(file_bytes=1)
    loaded = datasets.load_dataset(str(release_folder(run)), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == run.done["out"].rows == 20
    assert 0 in [shard.rows for shard in run.done["out"].shards]
    assert verify(run.done["out"].folder) == []


def test_a_missing_licence_is_refused_with_its_key() -> None:
    with pytest.raises(BadValue, match=r"steps\.out\.release\.license: a release needs a licence"):
        parse({"from": ["docs"]}, ("steps", "out", "release"))
    with pytest.raises(BadValue, match="licence's name"):
        parse({"from": ["docs"], "license": "All rights reserved"}, ())


def test_a_misspelt_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadValue, match="did you mean 'rejected'"):
        parse({"from": ["docs"], "license": "mit", "rejcted": True}, ())


def test_nothing_kept_is_refused_and_the_rules_that_dropped_most_are_named(tmp_path: Path, inputs: Path) -> None:
    run = small_run(tmp_path / "demo", inputs, rules=[*RULES, {"column": "length", "at_least": 10**6, "name": "huge"}])
    with pytest.raises(RunError, match=r"no row is kept; most were dropped by huge \(36\), too-short \(11\)"):
        run.release()
    assert not list((tmp_path / "demo").rglob("MANIFEST.json"))


def test_two_filters_in_one_release_are_refused(tmp_path: Path, inputs: Path) -> None:
    run = small_run(tmp_path / "demo", inputs)
    with pytest.raises(ConfigError, match="dups and kept both have `keep`"):
        run.release(**{"from": ["docs", "dups", "kept"]})


def test_a_column_in_two_inputs_is_refused(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["a"], "source": ["x"], "quality": [0.5]})
    scores = dataset(tmp_path / "scores", {"quality": [0.9]}, kind="score")
    with pytest.raises(ConfigError, match="the column 'quality' of docs is in another input too"):
        Sources.of({"from[0]": docs, "from[1]": scores})


def test_a_name_with_a_path_of_this_machine_is_refused_before_data_is_written(tmp_path: Path) -> None:
    run = Small(tmp_path / "demo")
    run.read(write_inputs(tmp_path / "in", texts(12), 1))
    manifest = Path(run.done["docs"].folder) / "manifest.json"
    content = json.loads(manifest.read_bytes())
    content["config"]["files"] = [["/home/ann/corpus/in-0.jsonl", 1, "00"]]
    manifest.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"provenance/docs-.*absolute path \(/home/ann/corpus/in-0.jsonl\)"):
        run.release(**{"from": "docs"})
    assert not list((tmp_path / "demo").rglob("train-*.parquet"))


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "a" * 34,
        "key: sk-proj-" + "a1" * 15,
        "AKIA" + "ABCDEFGH12345678",
        "s3://user:secret@host/bucket",
        "-----BEGIN RSA PRIVATE KEY-----",
        "https://host/file?X-Amz-Signature=0123456789abcdef",
        '"file:///srv/data.jsonl"',
        '"C:\\\\Users\\\\ann\\\\data.jsonl"',
        '"~/data/in.jsonl"',
    ],
)
def test_keys_and_paths_are_found(text: str) -> None:
    with pytest.raises(RunError, match=r"card\.md would publish"):
        refuse_leaks("card.md", text)


@pytest.mark.parametrize(
    "text",
    [
        "and/or",
        "https://huggingface.co/datasets/a/b",
        "s3://bucket/a/b",
        "data/in-0.jsonl#3",
        "a / b",
        "gopher-quality/words",
        "C: 4",
    ],
)
def test_plain_words_and_addresses_are_no_leak(text: str) -> None:
    refuse_leaks("card.md", text)


def test_a_card_describes_nested_columns_as_datasets_reads_them() -> None:
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("tags", pa.list_(pa.string())),
            ("meta", pa.struct([("n", pa.float32()), ("parts", pa.list_(pa.struct([("x", pa.int8())])))])),
            ("when", pa.timestamp("us", tz="UTC")),
            ("vector", pa.list_(pa.float32(), 4)),
            ("deep", pa.list_(pa.list_(pa.string()))),
            ("day", pa.date32()),
        ]
    )
    written = datasets.Features._from_yaml_list([feature(field) for field in schema])
    assert written == datasets.Features.from_arrow_schema(schema)


def test_the_step_that_trained_a_model_is_found_by_the_models_hash(tmp_path: Path) -> None:
    def changed(data: Dataset, **fields: object) -> Dataset:
        return write_manifest(data.folder, replace(data.manifest, **fields))

    changed(dataset(tmp_path / "other-1", {"text": ["a"]}, kind="train"), files={"model.bin": "ffff"})
    model = changed(dataset(tmp_path / "model-2", {"text": ["b"]}, kind="train"), files={"model.bin": "beef"})
    scores = changed(
        dataset(tmp_path / "scores-3", {"quality": [0.5]}, kind="score"),
        config={"models": {"quality.model": "beef"}},
    )
    assert [each.folder for each in with_trainers([scores])] == [model.folder, scores.folder]
