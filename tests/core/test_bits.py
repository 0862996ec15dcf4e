"""What a run says of the bits of its neural models, and how two runs or releases are compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from curate.cli.compare import Compared, _Differences, compare
from curate.core import bits
from curate.core.bits import Bits
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ConfigError, RunError
from curate.core.progress import Progress
from curate.core.step import Job, Receipt, Result, Step, execute
from curate.pipeline import open_run
from tests.command import curate
from tests.helpers import bits_can_be_portable, run_step, tree
from tests.pipelines import run_yaml

TEXTS = [f"The garden was quiet {'and green ' * (i % 9)}on day {i}." for i in range(40)]
# Another processor, as far as MKL's kernels go: those for all makers' (elsewhere than Intel's it heeds no other wish),
# and fewer instructions.
LIMIT = "SSE4_2" if os.environ.get("MKL_ENABLE_INSTRUCTIONS") == "AVX2" else "AVX2"
ELSEWHERE = {"MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": LIMIT}
mkl = pytest.mark.skipif(not bits_can_be_portable(), reason="nothing but MKL's kernels can be chosen")


def write_config(folder: Path, shared: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return f"""
name: bits
steps:
  docs: {{read: {{path: {folder}/in.jsonl, shard_bytes: 500}}}}
  words: {{score: {{from: docs, gopher_quality: {{}}}}}}
  lm: {{score: {{from: docs, bpb: {{scorer: causal_lm, model: {shared}/models/tiny-llama}}}}}}
  kept: {{filter: {{from: lm, rules: [{{column: bpb, bottom: 0.5}}]}}}}
  out: {{release: {{from: [docs, lm, kept], license: cc0-1.0}}}}
"""


def command(folder: Path, text: str, *more: str, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(text)
    own = {name: value for name, value in os.environ.items() if name not in bits.PORTABLE}
    return subprocess.run(
        [sys.executable, "-m", "curate", "run", str(folder / "config.yaml"), "--root", str(root), "--workers", "1",
         "--progress", "plain", *more],
        env={**own, **environment}, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip


def verify(*arguments: str) -> tuple[int, str]:
    done = curate("verify", *arguments, folder=Path.cwd())
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> tuple[Path, str, Path]:
    """The folder of the input, the config, and the run of it on this machine."""
    folder = tmp_path_factory.mktemp("bits")
    text = write_config(folder, shared)
    run_yaml(folder / "here", text)
    return folder, text, folder / "here/bits"


def test_the_manifest_of_a_step_with_a_neural_model_says_how_it_computed_and_no_other_does(
    here: tuple[Path, str, Path],
) -> None:
    folder, text, run = here
    found = {name: data.manifest.bits for name, data in open_run(str(run)).items()}
    (own,) = found.pop("lm")
    assert own.mode == "machine" and own.processor == bits.processor() and own.torch.startswith("2.")
    assert set(found.values()) == {()}
    outputs = run_yaml(folder / "two", text, resources=Resources(workers=2))
    assert outputs["lm"].manifest.bits == (own,)
    assert tree(folder / "two") == tree(folder / "here")


def test_how_a_model_computed_is_no_part_of_what_a_step_is(here: tuple[Path, str, Path]) -> None:
    data = open_run(str(here[2]))["lm"]
    said = json.loads((Path(data.folder) / "manifest.json").read_text())
    assert "bits" not in json.dumps(said["config"])
    said["bits"] = []
    (Path(data.folder) / "manifest.json").write_text(json.dumps(said))
    assert Dataset.open(data.folder).manifest.digest == data.manifest.digest
    said["bits"] = [
        {"mode": each.mode, "processor": each.processor, "torch": each.torch} for each in data.manifest.bits
    ]
    (Path(data.folder) / "manifest.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    assert Dataset.open(data.folder).manifest == data.manifest


@mkl
def test_a_run_that_goes_on_elsewhere_says_so_in_one_line(here: tuple[Path, str, Path], tmp_path: Path) -> None:
    _, text, run = here
    shutil.copytree(run.parent, tmp_path / "root")
    more = text.replace("  kept:", "  again: {score: {from: docs, longer: {scorer: causal_lm, model: " + (
        text.split("model: ")[1].split("}")[0] + ", context: 128}}}\n  kept:"))  # fmt: skip
    lines = command(tmp_path, more, root=tmp_path / "root", **ELSEWHERE).stderr.splitlines()
    (message,) = [line for line in lines if "last bits" in line]
    assert message.startswith("again: its models computed on ") and f"MKL_ENABLE_INSTRUCTIONS={LIMIT}" in message
    assert message.endswith("the last bits of their numbers may differ (they do not with --bits portable)")
    lines = command(tmp_path, text, root=tmp_path / "root").stderr.splitlines()
    assert lines and not [line for line in lines if "last bits" in line]


def test_a_step_that_goes_on_elsewhere_names_both_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Task:
        rows = 1

        def __init__(self, name: str) -> None:
            self.name = name

    def make(*, fail: bool) -> Callable[[Task], Receipt]:
        bits.use()

        def work(task: Task) -> Receipt:
            if fail and task.name == "b":
                raise RunError("the machine was taken away")
            return Receipt(task.name, 0)

        return work

    def run(processor: str, *, fail: bool) -> tuple[Dataset | None, list[str]]:
        monkeypatch.setattr(bits, "processor", lambda: processor)
        lines: list[str] = []
        progress = Progress("quiet")
        monkeypatch.setattr(progress, "line", lines.append)
        step = Step("s", "test", 1, {}, {}, {}, lambda job: work(job, fail))
        try:
            return execute(step, str(tmp_path), LOCAL, Resources(workers=1), progress), lines
        except RunError:
            return None, lines

    def work(job: Job, fail: bool) -> Result:
        return Result(job.map("", lambda: make(fail=fail), [Task("a"), Task("b")]))

    from curate.core.engine.local import LocalEngine

    LOCAL = LocalEngine()
    assert run("one", fail=True) == (None, [])
    done, lines = run("other", fail=False)
    assert done is not None and [each.processor for each in done.manifest.bits] == ["one", "other"]
    assert len(lines) == 1 and "computed on other, torch" in lines[0] and "others on one, torch" in lines[0]
    again, lines = run("third", fail=False)
    assert again is not None and again.manifest == done.manifest and not lines


@mkl
@pytest.mark.slow
def test_portable_bits_are_the_same_whatever_the_processor_offers_and_the_release_too(
    here: tuple[Path, str, Path], tmp_path: Path
) -> None:
    folder, text, _run = here
    command(folder, text, "--bits", "portable", root=tmp_path / "one")
    command(folder, text, "--bits", "portable", "--on", "ray", root=tmp_path / "other", **ELSEWHERE)
    outputs = open_run(str(tmp_path / "one/bits"))
    (own,) = outputs["lm"].manifest.bits
    assert own.mode == "portable" and own.processor == ""
    assert tree(tmp_path / "one") == tree(tmp_path / "other")
    assert verify(str(tmp_path / "one/bits"), "--against", str(tmp_path / "other/bits"))[0] == 0


@mkl
@pytest.mark.slow
def test_numbers_of_two_kinds_of_processor_are_distinguished_from_others_that_differ(
    here: tuple[Path, str, Path], tmp_path: Path
) -> None:
    folder, text, run = here
    command(folder, text, root=tmp_path, **ELSEWHERE)
    code, said = verify(str(run), "--against", str(tmp_path / "bits"))
    lines = dict(line.split(": ", 1) for line in said.splitlines())
    assert code == 0, said
    assert lines["docs"] == "the same (40 rows)" and lines["words"] == "the same (40 rows)"
    assert "neural models computed on" in said.splitlines()[-1]
    assert f" MKL_ENABLE_INSTRUCTIONS={LIMIT}, torch 2" in said.splitlines()[-1]
    assert {line.split(":")[0] for line in said.splitlines() if line.endswith(": last bits")} == {"lm", "out"}
    code, said = verify(str(run), "--against", str(tmp_path / "bits/missing"))
    assert code == 2 and "is not there; name the folders of two runs or of two releases" in said
    releases = [str(next(each.glob("out-*/release"))) for each in (run, tmp_path / "bits")]
    code, said = verify(releases[0], "--against", releases[1])
    assert code == 0 and "data/default/train-00000-of-00001.parquet" in said and "last bits" in said


def test_what_differs_by_more_than_last_bits_or_on_one_processor_differs(
    here: tuple[Path, str, Path], tmp_path: Path
) -> None:
    run = here[2]
    assert compare(str(run), str(run)).same
    shutil.copytree(run, tmp_path / "bits")
    data = open_run(str(tmp_path / "bits"))["lm"]
    path = Path(data.path(data.shards[0]))
    table = pq.read_table(path)

    def change(values: np.ndarray, processor: str | None) -> tuple[bool, str]:
        changed = table.set_column(1, table.column_names[1], pa.array(values, table.schema.field(1).type))
        pq.write_table(changed, path)
        said = json.loads((Path(data.folder) / "manifest.json").read_text())
        said["shards"][0]["digest"] = "0" * 32
        if processor:
            said["bits"][0]["processor"] = processor
        (Path(data.folder) / "manifest.json").write_text(json.dumps(said))
        found = compare(str(run), str(tmp_path / "bits"))
        return found.same, "\n".join(line for line in found.lines if line.startswith("lm:"))

    before = table.column(1).to_numpy()
    name = table.column_names[1]
    slight = f"lm: {len(before)} of 40 values of {name} differ, by 1.0e-07 at most"
    assert change(before + 1e-7, None) == (False, slight)
    assert change(before + 1e-7, "other") == (True, f"{slight}: last bits")
    same, said = change(before + np.eye(1, len(before))[0] * 0.01, "other")
    assert (same, said) == (False, f"lm: 1 of 40 values of {name} differ, by 1.0e-02 at most")
    assert change(before, None)[0]


def test_rows_columns_and_steps_of_one_alone_are_differences(here: tuple[Path, str, Path], tmp_path: Path) -> None:
    _folder, text, run = here
    fewer = text.replace("bottom: 0.5", "bottom: 0.4").replace(
        ", gopher_quality: {}", ", gopher_quality: {}, lines: {}"
    )
    run_yaml(tmp_path, fewer.replace("out: {release: {from: [docs, lm, kept]", "published: {release: {from: [docs, words, lm, kept]"))  # fmt: skip
    found = compare(str(run), str(tmp_path / "bits"))
    said = "\n".join(found.lines)
    assert not found.same
    for line in ("docs: the same (40 rows)", "kept: 4 of 40 values of keep differ", "out: is done in the first alone"):
        assert line in said
    assert (
        "words: the column lines_" in said and "is in one alone" in said and "published: is done in the second" in said
    )
    releases = [str(next(each.glob("*/release"))) for each in (run, tmp_path / "bits")]
    assert "4 rows are in the first alone, 0 in the second" in "\n".join(compare(*releases).lines)


def test_bits_of_another_mode_than_a_process_was_started_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was started for bits of the mode machine, not portable"):
        run_yaml(tmp_path, write_config(tmp_path, tmp_path), resources=Resources(bits="portable"))


def test_what_other_settings_choose_kernels_is_part_of_a_kind_of_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in bits._LIMITS:
        monkeypatch.delenv(name, raising=False)
    plain = bits.processor.__wrapped__()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert bits.processor.__wrapped__() == f"{plain} ATEN_CPU_CAPABILITY=default"


def test_a_change_is_reported_only_where_there_is_one() -> None:
    one, other = Bits("machine", "one", "2.13.0"), Bits("machine", "other", "2.13.0")
    assert bits.change([], [one]) == bits.change([one], []) == bits.change([one, other], [one]) == ""
    message = "its models computed on other, torch 2.13.0, others on one, torch 2.13.0: the last bits of their numbers may differ"
    assert bits.change([one], [one, other]) == bits.change([], [one, other]) == bits.change([one], [other]) == message
    kinds = [Bits("machine", f"x86_64 {name}", "2.13.0") for name in ("Intel", "AMD")]
    assert bits.change(kinds[:1], kinds).endswith(" (they do not with --bits portable)")


@pytest.mark.parametrize(
    ("one", "other", "values", "near"),
    [
        ([1.0, None], [1.0, None], 0, True),
        ([float("nan"), 2.0], [float("nan"), 2.0], 0, True),
        ([1.0, 2.0], [1.0, 2.000001], 1, True),
        ([1.0, 2.0], [1.0, 2.1], 1, False),
        ([1.0, None], [1.0, 2.0], 1, False),
        ([float("inf"), 1.0], [3.0, 1.0], 1, False),
        ([float("inf")], [float("-inf")], 1, False),
        ([[1.0, float("nan")], [2.0]], [[1.0, float("nan")], [2.000001]], 1, True),
        ([[1.0], [2.0]], [[1.0], [2.0, 3.0]], 1, False),
        ([{"f": 1.0}], [{"f": 1.000001}], 1, True),
        (["a", "b"], ["a", "c"], 1, False),
        ([True, None], [True, False], 1, False),
    ],
)
def test_values_of_every_kind_are_the_same_near_or_different(
    one: list[object], other: list[object], values: int, near: bool
) -> None:
    found = _Differences(len(one))
    ids = [f"{i:032x}" for i in range(len(one))]
    other_way = pa.table({"id": ids[::-1], "x": pa.array(other)[::-1]})
    found.add(pa.table({"id": ids, "x": pa.array(one)}), other_way)
    assert found.columns["x"].values == values
    assert (found.columns["x"].beyond == 0) == near
    assert not any(found.alone)


def test_a_tokenizer_that_differs_is_no_matter_of_last_bits(here: tuple[Path, str, Path], tmp_path: Path) -> None:
    def step(root: str, processor: str, weights: np.ndarray, tokenizer: str) -> Dataset:
        hashes = {"model/model.safetensors": str(weights), "model/tokenizer.json": tokenizer, "loss.csv": str(weights)}

        def run(job: Job) -> Result:
            Path(job.folder, "model").mkdir(parents=True)
            save_file({"w": weights}, Path(job.folder, "model/model.safetensors"))
            return Result(files=hashes)

        return run_step(tmp_path / root, run, {})

    weights = np.ones((3, 2), np.float32)
    one, near, other = (step(*each) for each in (("a", "x", weights, "t"), ("b", "y", weights + 1e-6, "t"), ("c", "y", weights, "u")))  # fmt: skip
    for data, why, same, line in (
        (near, "two kinds", True, "m: model/model.safetensors differs, by 9.5e-07 at most: last bits"),
        (near, "", False, "m: loss.csv and 1 more differs"),
        (other, "two kinds", False, "m: model/tokenizer.json differs"),
    ):
        found = Compared()
        found.add_files("m", one, data, why)
        assert (found.same, found.lines) == (same, [line])
