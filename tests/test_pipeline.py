from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from curate.core.config import parse
from curate.core.engine import Resources
from curate.core.errors import ConfigError
from curate.pipeline import Pipeline, open_run
from tests.helpers import rows, tree
from tests.pipelines import run_yaml

TEXT = "The garden was quiet and the rain had stopped. Nobody knew that it would be back with the wind.\n"


def write_jsonl(path: Path, texts: list[object], **own: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"text": text, **{k: v[i] for k, v in own.items()}} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def small(folder: Path, rules: str = "[{column: gopher_quality_words, at_least: 15}]") -> str:
    return f"""
name: small
steps:
  docs: {{read: {{path: {folder}/in, shard_bytes: 2000}}}}
  scores: {{score: {{from: docs, gopher_quality: {{}}}}}}
  dups: {{dedup: {{from: docs, exact: {{}}}}}}
  kept: {{filter: {{from: [scores, dups], rules: {rules}}}}}
  out: {{release: {{from: [docs, kept], license: cc0-1.0}}}}
"""


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("docs: {raed: {path: x}}", "no step kind 'raed'; did you mean 'read'"),
        ("docs: {read: {pth: x}}", r"steps\.docs\.read\.pth: no such key; did you mean 'path'"),
        ("docs: {read: {}}", "give either `path`"),
        ("docs: {read: {path: 3}}", r"steps\.docs\.read\.path"),
        ("a: {dedup: {from: b, exact: {}}}", r"steps\.a\.dedup\.from: no step 'b'"),
        (
            "docs: {read: {path: x}}, s: {score: {from: docs, gofer_quality: {}}}",
            r"steps\.s\.score\.gofer_quality: no scorer 'gofer_quality'; did you mean 'gopher_quality'",
        ),
        (
            "docs: {read: {path: x}}, s: {score: {from: docs, gopher_quality: {varant: dclm}}}",
            r"gopher_quality\.varant: no such key; did you mean 'variant'",
        ),
        (
            "docs: {read: {path: x}}, s: {score: {from: docs, gopher_quality: {variant: x}}}",
            r"gopher_quality\.variant: .*'dclm'.*found 'x'",
        ),
        ("docs: {read: {path: x}}, s: {score: {from: docs}}", "names no scorer"),
        ("docs: {read: {path: x}}, s: {clean: {from: docs, pi: {}}}", "did you mean 'pii'"),
        ("docs: {read: {path: x}, score: {}}", "a step is one kind"),
        ("'a/b': {read: {path: x}}", "a step's name"),
        (
            "a: {dedup: {from: b, exact: {}}}, b: {dedup: {from: c, exact: {}}}, c: {dedup: {from: a, exact: {}}}",
            "in a circle: a -> b -> c -> a",
        ),
        ("t: {train: {fasttxt: {}}}", "did you mean 'fasttext'"),
        ("docs: {read: {path: x}}, o: {release: {from: [docs]}}", "license"),
    ],
)
def test_a_wrong_config_is_refused_before_anything_runs(steps: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline.of(parse(f"name: x\nsteps: {{{steps}}}\n"))


def test_a_mistake_is_shown_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("name: x\nsteps:\n  docs:\n    read:\n      pth: y\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:5: steps\.docs\.read\.pth"):
        Pipeline.load(str(path))


def test_a_number_beyond_64_bits_is_refused_as_it_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "name: p\nsteps:\n  docs:\n    read: {path: a, shard_bytes: 99999999999999999999}\n"
    )
    with pytest.raises(ConfigError, match="p.yaml:4: steps.docs.read.shard_bytes: a number beyond 64 bits"):
        Pipeline.load(str(tmp_path / "p.yaml"))
    with pytest.raises(ConfigError, match="steps.docs.read.path: a number beyond"):
        Pipeline.load(str(tmp_path / "p.yaml"), ["steps.docs.read.path=-9999999999999999999"])


def test_a_value_is_set_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("name: x\nsteps: {docs: {read: {path: a}}}\n")
    pipeline = Pipeline.load(str(path), ["steps.docs.read.path=[b, c]", "name=y"])
    assert (pipeline.name, pipeline.nodes[0].config.path) == ("y", ["b", "c"])  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="did you mean 'docs'"):
        Pipeline.load(str(path), ["steps.doc.read.path=b"])
    with pytest.raises(ConfigError, match="write KEY=VALUE"):
        Pipeline.load(str(path), ["name"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.jsonl", "matches no file"),
        ("*.jsonl", "matches no file"),
        ("empty", "no file that can be read"),
    ],
)
def test_an_input_that_is_not_there_is_named(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        run_yaml(tmp_path, f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/{path}}}}}}}\n")


def test_an_empty_file_alone_is_refused_and_among_others_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("")
    text = f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/in}}}}}}\n"
    with pytest.raises(ConfigError, match="holds no record"):
        run_yaml(tmp_path, text)
    write_jsonl(tmp_path / "in" / "b.jsonl", ["one"])
    assert run_yaml(tmp_path, text)["docs"].rows == 1


def test_every_record_ends_in_one_place(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT, "short", TEXT, None, TEXT + "More.", "x" * 20000])
    (tmp_path / "in" / "b.jsonl").write_bytes(b'{"text": "cut\n' + b'{"text": "bad \xff"}\n')
    outputs = run_yaml(tmp_path / "runs", small(tmp_path))
    manifest = outputs["out"].manifest
    assert outputs["docs"].manifest.rows_in == 8
    assert outputs["docs"].manifest.quarantined == 3
    assert (manifest.rows_in, manifest.rows, manifest.dropped) == (5, 2, 3)
    assert {k: v for k, v in manifest.counts.items() if k.startswith("dropped:")} == {
        "dropped:exact-duplicate": 1,
        "dropped:gopher_quality_words-low": 2,
    }


def test_the_inputs_own_columns_are_kept(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT], id=["mine"], source=["there"], url=["http://example.com"], n=[1])
    write_jsonl(tmp_path / "in" / "b.jsonl", [TEXT + "b"], n=[1.5], late=[True])
    docs = run_yaml(tmp_path / "runs", f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/in}}}}}}\n")["docs"]
    first, second = rows(docs)
    assert (first["input_id"], first["input_source"], first["url"], first["source"]) == (
        "mine", "there", "http://example.com", "a.jsonl#0",
    )  # fmt: skip
    assert (first["n"], second["n"], first["late"], second["late"]) == (1.0, 1.5, None, True)


def test_ids_depend_on_the_place_below_the_root_and_the_row(tmp_path: Path) -> None:
    for where in ("one", "two"):
        write_jsonl(tmp_path / where / "sub" / "a.jsonl", ["x", "y"])
    a, b = (
        run_yaml(
            tmp_path / f"runs-{w}",
            f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/{w}, shard_bytes: {size}}}}}}}\n",
        )
        for w, size in (("one", 10), ("two", 1000))
    )
    assert [r["id"] for r in rows(a["docs"])] == [r["id"] for r in rows(b["docs"])]
    assert rows(a["docs"])[1]["source"] == "sub/a.jsonl#1"


def test_a_threshold_change_rescores_nothing(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT * i for i in range(1, 9)])
    before = run_yaml(tmp_path / "runs", small(tmp_path))
    changed = Path(before["scores"].path(before["scores"].shards[0])).stat().st_mtime_ns
    after = run_yaml(tmp_path / "runs", small(tmp_path, "[{column: gopher_quality_words, at_least: 40}]"))
    assert after["scores"].folder == before["scores"].folder
    assert Path(after["scores"].path(after["scores"].shards[0])).stat().st_mtime_ns == changed
    assert after["kept"].folder != before["kept"].folder
    assert after["out"].rows < before["out"].rows


def test_a_changed_input_is_noticed_whatever_its_name_and_size(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", ["one"])
    text = f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/in}}}}}}\n"
    before = run_yaml(tmp_path / "runs", text)["docs"]
    write_jsonl(tmp_path / "in" / "a.jsonl", ["two"])
    assert run_yaml(tmp_path / "runs", text)["docs"].folder != before.folder


def test_a_model_that_is_not_there_is_named_before_anything_is_scored(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT])
    text = f"""
name: x
steps:
  docs: {{read: {{path: {tmp_path}/in}}}}
  s: {{score: {{from: docs, quality: {{model: nowhere.bin, label: hq}}}}}}
"""
    with pytest.raises(ConfigError, match=r"quality\.model: 'nowhere\.bin' is neither a file nor a step"):
        run_yaml(tmp_path / "runs", text)


def test_a_model_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT])
    (tmp_path / "m.bin").write_bytes(b"not a model at all")
    for scorer in (
        "quality: {label: hq, model: M}",
        "perplexity: {normaliser: none, model: M}",
        "language: {model: M}",
    ):
        entry = scorer.replace("M", str(tmp_path / "m.bin"))
        text = f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/in}}}}, s: {{score: {{from: docs, {entry}}}}}}}\n"
        with pytest.raises(ConfigError, match=r"m\.bin"):
            run_yaml(tmp_path / "runs", text)


def test_a_model_bears_identity_by_its_content_and_not_by_its_place(tmp_path: Path, shared: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT])
    arpa = (shared / "data" / "kenlm_test.arpa").read_text()
    digests = []
    for name, content in (("a.arpa", arpa), ("b.arpa", arpa), ("c.arpa", arpa.replace("-0.", "-0.1", 1))):
        (tmp_path / name).write_text(content)
        entry = f"perplexity: {{normaliser: none, model: {tmp_path}/{name}}}"
        text = f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/in}}}}, s: {{score: {{from: docs, {entry}}}}}}}\n"
        digests.append(run_yaml(tmp_path / "runs", text)["s"].manifest.digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_pipeline_trains_on_one_dataset_and_scores_another(tmp_path: Path) -> None:
    good = [f"The {a} of the {b} was calm and kind, and people spoke of it." for a in "abcdefgh" for b in "ijklmnop"]
    poor = [f"BUY {a} NOW!!! click {b} cheap cheap best price" for a in "abcdefgh" for b in "ijklmnop"]
    write_jsonl(tmp_path / "good.jsonl", good)
    write_jsonl(tmp_path / "poor.jsonl", poor)
    write_jsonl(tmp_path / "in" / "a.jsonl", ["The evening of the village was calm.", "BUY NOW cheap cheap price!!!"])
    text = f"""
name: x
steps:
  good: {{read: {{path: {tmp_path}/good.jsonl}}}}
  poor: {{read: {{path: {tmp_path}/poor.jsonl}}}}
  cls: {{train: {{fasttext: {{positive: good, negative: poor, bucket: 1000, dim: 8, epoch: 20, lr: 0.5}}}}}}
  lm: {{train: {{ngram: {{from: good, order: 3}}}}}}
  docs: {{read: {{path: {tmp_path}/in}}}}
  s: {{score: {{from: docs, quality: {{model: cls, label: hq}}, perplexity: {{model: lm}}}}}}
"""
    one = run_yaml(tmp_path / "one", text)
    fine, bad = rows(one["s"])
    assert fine["quality"] > 0.5 > bad["quality"] and fine["perplexity"] < bad["perplexity"]
    assert one["cls"].manifest.details["card"]["held_out"]["auroc"] > 0.9  # type: ignore[index, call-overload]
    run_yaml(tmp_path / "two", text, resources=Resources(workers=2))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_missing_model_or_input_stops_the_run_before_its_first_step(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT])
    later = "s: {score: {from: docs, language: {model: gone.ftz}}}"
    for last in (later, "more: {read: {path: gone/*.jsonl}}"):
        text = f"name: x\nsteps: {{docs: {{read: {{path: {tmp_path}/in}}}}, {last}}}\n"
        with pytest.raises(ConfigError, match=r"test\.yaml:2: .*gone"):
            run_yaml(tmp_path / "runs", text)
        assert not list((tmp_path / "runs").rglob("*.parquet"))


def test_a_run_is_looked_at_without_its_inputs(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT, TEXT + "More."])
    outputs = run_yaml(tmp_path / "runs", small(tmp_path))
    (tmp_path / "in" / "a.jsonl").unlink()
    (tmp_path / "runs" / "small").rename(tmp_path / "moved")
    again = open_run(str(tmp_path / "moved"))
    assert [(name, each.rows) for name, each in again.items()] == [(n, e.rows) for n, e in outputs.items()]


def test_a_run_in_an_object_store_reads_and_writes_there() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/pages/a.jsonl", b"".join(json.dumps({"text": TEXT * i}).encode() + b"\n" for i in (1, 2, 1)) + b"{")
    text = small(Path("x")).replace("x/in", '"memory://pages/*.jsonl"')
    outputs = run_yaml(Path("unused"), text, root="memory://runs")
    assert (outputs["docs"].manifest.quarantined, outputs["out"].rows) == (1, 2)
    assert outputs["out"].folder.startswith("memory://runs/small/out-")
    assert store.exists(outputs["out"].folder + "/release/MANIFEST.json")
    assert run_yaml(Path("unused"), text, root="memory://runs")["out"].manifest == outputs["out"].manifest
