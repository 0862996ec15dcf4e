"""The story of made rows, and of the rows that they were made of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.explain.row import explain_row
from curate.pipeline import RESOLVED
from tests.helpers import rows, tree
from tests.report.test_summary import FORMLESS, GIVEN_BACK, HTTP_400, REFUSED, SEEDS, made_run, outcomes

RUN = "made"  # as `made_run` calls it


@dataclass(frozen=True)
class Run:
    """A run of `made_run`."""

    folder: Path
    outputs: dict[str, Dataset]

    def explain_lines(self, row: object) -> list[str]:
        """The story of a row."""
        return list(explain_row(list(self.outputs.values()), str(row), str(self.folder / RUN / RESOLVED)))

    def seed(self, place: int) -> str:
        """The id of a seed."""
        return str(rows(self.outputs["seeds"])[place]["id"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("explained")
    yield Run(folder, made_run(folder))


def test_a_synthetic_row_is_explained_with_who_made_it_the_prompt_and_the_answer(run: Run) -> None:
    row = rows(run.outputs["para"])[0]
    lines = run.explain_lines(row["id"])
    assert "    made by the recipe paraphrase: sample 0, finish stop" in lines
    assert f"    answered by m, request {row['request']}" in lines
    (asked,) = [line for line in lines if line.startswith("        asked: ")]
    assert "Write 3 different rewordings" in asked and SEEDS[0] in asked
    (answered,) = [line for line in lines if line.startswith("        answered: ")]
    assert str(row["text"]) in answered and answered.startswith('        answered: "1. Tell me now')


def test_the_chain_goes_back_to_the_file_that_was_read(run: Run) -> None:
    row = rows(run.outputs["again"])[0]
    (parent,) = row["parents"]  # type: ignore[misc]
    lines = run.explain_lines(row["id"])
    at = next(i for i, line in enumerate(lines) if line.startswith("    parent"))
    said = {str(each["id"]): str(each["text"]) for each in rows(run.outputs["para"])}
    shard = run.outputs["para"].shards[0].name
    assert lines[at : at + 2] == [
        f'    parent {parent} of para (synthesize), from seeds.jsonl#0 in {shard}: "{said[parent]}"',
        f'        parent {run.seed(0)} of seeds (read), from seeds.jsonl#0 in {shard}: "{SEEDS[0]}"',
    ]


def test_a_row_made_out_of_nothing_says_so(run: Run) -> None:
    lines = run.explain_lines(rows(run.outputs["born"])[0]["id"])
    assert "    it has no parents: it was made of nothing but its recipe" in lines


def test_what_became_of_a_row_that_went_in_is_explained(run: Run) -> None:
    refused, formless = run.explain_lines(run.seed(min(REFUSED))), run.explain_lines(run.seed(min(FORMLESS)))
    assert refused[-1] == 'para (synthesize): rejected: refusal: "I\'m sorry, but I cannot help with that."'
    assert formless[-1].startswith("para (synthesize): rejected: form: ")
    assert run.explain_lines(run.seed(min(GIVEN_BACK)))[-1].startswith("para (synthesize): rejected: too-near: ")
    assert run.explain_lines(run.seed(HTTP_400))[-1].startswith("para (synthesize): failed: http-400: ")


def test_an_accepted_row_is_explained_with_the_rows_made_of_it(run: Run) -> None:
    made = rows(run.outputs["made"])
    label = rows(run.outputs["labels"])[3]["id"]
    own = [str(row["id"]) for row in made if row["parents"] == [label]]
    lines = run.explain_lines(label)
    at = lines.index(f"made (synthesize): accepted: {len(own)} rows made of it")
    assert [line.strip() for line in lines[at + 1 : at + 1 + min(10, len(own))]] == own[:10]


def test_what_was_not_taken_of_an_accepted_row_is_explained(run: Run) -> None:
    outcome = next(each for each in outcomes(run.outputs["para"]) if each["dropped"])
    (first, *_) = outcome["dropped"]  # type: ignore[misc]
    lines = run.explain_lines(outcome["id"])
    assert f'    not taken, {first["reason"]}: "{first["text"]}"' in lines


def test_a_row_that_is_in_no_dataset_but_went_into_a_step_is_explained(run: Run) -> None:
    outcome, _ = outcomes(run.outputs["born"])
    made = rows(run.outputs["born"])[0]["id"]
    assert run.explain_lines(str(outcome["id"])[:12]) == [
        f"row {outcome['id']}",
        "born (synthesize): accepted: 1 row made of it",
        f"    {made}",
    ]
    with pytest.raises(ConfigError, match="no row has an id that begins with 'f00d'"):
        run.explain_lines("f00d")


def test_explaining_writes_nothing(run: Run) -> None:
    before = tree(run.folder)
    run.explain_lines(rows(run.outputs["again"])[0]["id"])
    assert tree(run.folder) == before


def test_answers_are_found_in_the_ledgers_that_the_config_names_or_are_said_to_be_missing(
    run: Run, tmp_path: Path
) -> None:
    shutil.copytree(run.folder / RUN / "ledger", tmp_path / "recorded")
    # The failed row has no answer on record, so a replay could not go past it.
    again = made_run(tmp_path, more=f"ledgers: {tmp_path}/recorded")
    shutil.rmtree(tmp_path / RUN / "ledger")
    replayed = Run(tmp_path, again)
    row = rows(again["para"])[0]["id"]
    assert any(line.startswith('        answered: "1. Tell me now') for line in replayed.explain_lines(row))
    shutil.rmtree(tmp_path / "recorded")
    assert "        its answer is not in the ledger of this run" in replayed.explain_lines(row)
