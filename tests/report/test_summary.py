"""What a run says of rows that were made; also the run that other tests of made rows look at."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.dataset import Dataset, Failure
from curate.core.funnel import funnel
from curate.core.shards import read_shard
from curate.report.summary import Outcomes, summary_lines
from tests.helpers import ROOT
from tests.llm.faults import Faults
from tests.llm.server import serve
from tests.pipelines import run_yaml

QUESTIONS = ROOT / "configs/quickstart/questions"
SEEDS = [json.loads(line)["text"] for line in (QUESTIONS / "seeds.jsonl").read_text().splitlines()]
HOSTILE = '<script>alert("x")</script>'
# Which seeds the model refuses, answers in no list, gives back; which the server refuses; which it rewords alike.
REFUSED, FORMLESS, GIVEN_BACK, HTTP_400, ALIKE = {1, 4}, {6}, {8, 9, 10}, 12, {14, 15}
BORN = """
name: born
about: nothing -> lines
stages: [{name: line, prompt: Write a line., sampling: {temperature: 1.0, max_tokens: 50}}]
rows: {text: "{{ line }}"}
"""
YAML = """
name: made
endpoints: {{large: {{url: "{url}", model: m}}}}
{more}
steps:
  seeds: {{read: {{path: {questions}/seeds.jsonl}}}}
  labels: {{read: {{path: {questions}/labels.jsonl}}}}
  heldout: {{read: {{path: {questions}/test.jsonl}}}}
  para: {{synthesize: {{from: seeds, recipe: paraphrase, model: large}}}}
  again: {{synthesize: {{from: para, recipe: paraphrase, model: large, set: {{count: 2}}}}}}
  born: {{synthesize: {{count: 2, recipe: {folder}/born.yaml, model: large}}}}
  made: {{synthesize: {{from: labels, recipe: classification, model: large, set: {{combinations: 5}}}}}}
  checks: {{verify: {{from: made, length: {{}}, near: {{to: heldout}}}}}}
  kept: {{filter: {{from: checks, rules: [{{name: too-short, column: length_words, at_least: 5}}]}}}}
  out: {{release: {{from: [made, checks, kept], license: cc-by-4.0}}}}
"""


def answer(body: dict[str, object]) -> str:
    """A reworded seed, unless it is one of those above; attributes, and questions about them."""
    prompt = str(body["messages"][-1]["content"])  # type: ignore[index]
    if "Name 4 attributes" in prompt:
        long = {"name": "length", "values": ["short", "long"]}
        return json.dumps({"attributes": [long, {"name": "style", "values": ["dry", "warm", HOSTILE]}]})
    if "examples of" in prompt:
        words = hashlib.sha256(prompt.encode()).hexdigest()
        short, long = f"What is {words[:5]}?", f"What {words[5:10]} is the {words[10:15]} of {words[15:20]} {HOSTILE}?"
        return f"1. {short}\n2. {long}"
    if "---" not in prompt:
        return f"A line of its own, {body['seed']}."
    text = prompt.split("---\n")[1].strip()
    place = SEEDS.index(text) if text in SEEDS else -1
    if place in REFUSED:
        return "I'm sorry, but I cannot help with that."
    if place in FORMLESS:
        return "no list at all"
    if place in GIVEN_BACK:
        return f"1. {text}\n2. {text}\n3. {text}"
    same = place in ALIKE
    words = [word.strip("?.") for word in text.split()[1:7]]
    reported = [" ".join(words[: 2 + i]) for i in range(3)]
    return "\n".join(
        f"{i + 1}. Tell me now {reported[0 if same else i]} please, {'0' if same else i}" for i in range(3)
    )


def made_run(folder: Path, *, more: str = "") -> dict[str, Dataset]:
    """A run with rows of every outcome, under `folder/made`."""
    (folder / "born.yaml").write_text(BORN)
    faults = Faults(refused=SEEDS[HTTP_400])
    with serve(answer=answer, faults=faults, prices={"m": ("0.15", "0.60")}) as server:
        return run_yaml(folder, YAML.format(url=server.url, more=more, questions=QUESTIONS, folder=folder))


def outcomes(made: Dataset) -> list[dict[str, object]]:
    """The rows of `fates/`, in order."""
    shards = [read_shard(f"{made.folder}/fates/{shard.name}") for shard in made.shards]
    return [row for shard in shards for batch in shard for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Dataset]]:
    yield made_run(tmp_path_factory.mktemp("summary"))


def block(lines: list[str], head: str) -> list[str]:
    """The lines from the one that ends so, up to the next block."""
    at = next(i for i, line in enumerate(lines) if line.startswith("\n") and line.endswith(head))
    end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("\n")), len(lines))
    return [line.lstrip("\n") for line in lines[at:end]]


def test_every_row_that_went_in_has_a_line_and_the_lines_add_up(outputs: dict[str, Dataset]) -> None:
    head, *lines, tokens = block(summary_lines(outputs), "went into para")
    counts = {line.split("%")[1].strip(): int(line.split()[0]) for line in lines}
    assert head == "30 rows went into para"
    assert sum(counts.values()) == 30
    accepted = outputs["para"].rows
    dropped = sum(len(each["dropped"]) for each in outcomes(outputs["para"]) if each["fate"] == "accepted")  # type: ignore[arg-type]
    assert counts == {
        "rejected: too-near": 3,
        "rejected: refusal": 2,
        "rejected: form": 1,
        "failed: http-400": 1,
        f"accepted: {accepted} rows made, {dropped} filtered ({dropped} repeated)": 23,
    }
    # Of 30 requests one had no answer; what is refused or of no form is asked once more.
    assert re.fullmatch(r"32 answers, [\d,]+ tokens in, [\d,]+ out", tokens)


def test_the_lines_are_those_of_the_fates(outputs: dict[str, Dataset]) -> None:
    for name in ("para", "again", "made", "born"):
        reported, rows = Outcomes.of(outputs[name].manifest), outcomes(outputs[name])
        assert reported.adds_up()
        assert reported.rows == len(rows)
        assert reported.accepted == sum(each["fate"] == "accepted" for each in rows)
        assert reported.rejected == Counter(each["reason"] for each in rows if each["fate"] == "rejected")
        assert reported.failed == Counter(each["reason"] for each in rows if each["fate"] == "failed")
        assert reported.made == outputs[name].rows == sum(int(str(each["rows"])) for each in rows)
        filtered = Counter(some["reason"] for each in rows for some in each["dropped"])  # type: ignore[attr-defined]
        assert reported.filtered == filtered


def test_rows_out_of_nothing_are_prompts(outputs: dict[str, Dataset]) -> None:
    head, accepted, _ = block(summary_lines(outputs), "went into born")
    assert head == "2 prompts went into born"
    assert accepted.split() == ["2", "100.0", "%", "accepted:", "2", "rows", "made"]


def test_the_funnel_of_a_release_of_made_rows_begins_with_what_was_made(outputs: dict[str, Dataset]) -> None:
    made, out = outputs["made"], outputs["out"]
    reported = funnel(out, out.ancestors())
    assert reported.made and reported.adds_up()
    assert reported.records == made.rows
    assert reported.kept == out.rows and reported.dropped == {"too-short": made.rows - out.rows}
    assert 0 < out.rows < made.rows
    head, dropped, kept = block(summary_lines(outputs), "rows made")
    assert head == f"{made.rows} rows made"
    assert int(dropped.split()[0]) + int(kept.split()[0]) == made.rows


def test_a_release_of_what_was_read_still_begins_with_records(outputs: dict[str, Dataset], tmp_path: Path) -> None:
    text = YAML.split("steps:")[0].format(url="http://127.0.0.1:9/v1", more="") + (
        f"steps:\n  docs: {{read: {{path: {QUESTIONS}/seeds.jsonl}}}}\n"
        "  out: {release: {from: docs, license: cc-by-4.0}}\n"
    )
    lines = summary_lines(run_yaml(tmp_path, text))
    assert lines[0] == "\n30 records read"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_rows_that_were_left_out_or_failed_are_counted_too(
    outputs: dict[str, Dataset], accepted: int, rejected: int, failed: int, absent: int, lost: int
) -> None:
    counts = {"accepted": accepted, "rejected:form": rejected, "failed:timeout": failed}
    manifest = dataclasses.replace(
        outputs["para"].manifest,
        rows_in=accepted + rejected + failed + absent + lost,
        counts=counts,
        absent=absent,
        failed=(Failure("part-00001.parquet", lost, "killed"),),
    )
    reported = Outcomes.of(manifest)
    assert reported.adds_up()
    lines = block(summary_lines({"para": Dataset("", manifest)}), "went into para")
    assert sum(int(line.split()[0].replace(",", "")) for line in lines[1:-1]) == manifest.rows_in
    assert not dataclasses.replace(reported, accepted=accepted + 1).adds_up()
