"""What the report says of a selection, each figure computed here once more from the texts themselves."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.chat.messages import Conversation, Turn, part, to_arrow
from curate.core.dataset import Dataset, write_manifest
from curate.core.draw import gumbel
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.step import Job, Step, execute
from curate.report.build import build_report
from curate.report.picks import Pick
from curate.report.pool import read_pool
from curate.report.selection import Selection, selections
from curate.steps.dedup.minhash import Wording, alike
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.step import VERSION, parse, run
from curate.steps.select.targets import Targeted
from tests.helpers import rows
from tests.report.test_report import Page, funnel, section
from tests.steps.select.pools import beside, dolly, flan, pool

HOSTILE = '<script>alert("x")</script> & <img src=x onerror=alert(1)>'


class First(Targeted):
    """Takes rows as they stand; the examples of the target are the nearest in turn."""

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        (task,) = self.tasks(job)
        filling.take_in_order(range(len(pool)))
        near = np.full(len(pool), None, dtype=object)
        near[filling.taken] = [task.ids[i % len(task)] for i in range(len(filling.taken))]
        names = np.full(len(pool), task.name, dtype=object)
        return Verdict(-np.arange(len(pool), dtype=np.float64), names, near, {"radius": 0.25})


def words(conversation: Conversation, which: str = "text") -> list[str]:
    """The words of a conversation of plain English."""
    return re.findall(r"[a-z0-9<>]+", part(conversation, which).lower())  # type: ignore[arg-type]


def moved(folder: Path, dataset: Dataset, inputs: Mapping[str, str]) -> Dataset:
    """A dataset in the folder that a run would give it."""
    manifest = dataclasses.replace(dataset.manifest, inputs=dict(inputs))
    write_manifest(dataset.folder, manifest)
    place = folder / f"{manifest.step}-{manifest.digest[:8]}"
    shutil.move(dataset.folder, place)
    return Dataset.open(str(place))


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of two select steps on one pool, and what is in it."""

    conversations: list[Conversation]
    target: list[Conversation]
    scores: list[float | None]
    outputs: dict[str, Dataset]

    def taken(self, step: str) -> list[int]:
        """The rows that a step took, by rank."""
        found = rows(self.outputs[step])
        return sorted((i for i, row in enumerate(found) if row["keep"]), key=lambda i: found[i]["rank"])  # type: ignore[arg-type, return-value]


@pytest.fixture(scope="module")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("selection")
    conversations = dolly(shared, 300) + flan(shared, "gsm8k", 60)
    conversations[2] = (Turn("user", HOSTILE), Turn("assistant", HOSTILE * 2))
    conversations[4] = tuple(Turn(turn.role, turn.content.upper() + "  ") for turn in conversations[1])
    said = conversations[0][1].content
    conversations[5] = (conversations[0][0], Turn("assistant", said + " Indeed."))
    conversations[6] = (Turn("system", "Be brief."), *conversations[7], *conversations[8])
    target = [conversations[3], (Turn("user", "Something else?"), conversations[310][1]), *dolly(shared, 420)[400:]]
    said = part(conversations[8], "answer").split()
    for some in (said[2:15], said[2:14], said[14:1:-1]):  # 13 of its words, 12, and 13 in another order
        target.append((Turn("user", f"Is this so? {' '.join(some)}"), Turn("assistant", "Yes.")))
    columns = {
        "task": ["dolly"] * 300 + ["gsm8k"] * 60,
        "source": [f"{'one' if i < 120 else 'two'}.jsonl#{i}" for i in range(360)],
    }
    docs = pool(folder / "docs", conversations, shards=3, columns=columns)
    examples = pool(folder / "bbh", target, step="bbh")
    scores = [None if i % 7 == 0 else float((i * 37) % 101) for i in range(360)]
    one = pool(folder / "one", conversations, step="one")  # `beside` takes a pool of one shard
    side = beside(folder / "side", one, {"quality": scores})
    docs, examples = moved(folder, docs, {}), moved(folder, examples, {})
    outputs = {"pool": docs, "bbh": examples}
    # The scores lie in three shards, as the pool does.
    del side, one
    split = pool(folder / "split", conversations, step="scores", shards=3, columns={"quality": scores})
    manifest = dataclasses.replace(split.manifest, kind="score")
    outputs["scores"] = moved(folder, Dataset(split.folder, manifest), {"from": docs.manifest.digest})

    def select(name: str, config: dict[str, object]) -> None:
        parsed = parse({"from": "pool", **config}, ("steps", name, "select"))
        roles = {role: outputs[step] for role, step in parsed.inputs().items()}
        step = Step(name, "select", VERSION, parsed.identity(), roles, {}, lambda job: run(job, parsed))
        outputs[name] = execute(step, str(folder), LocalEngine(), Resources(workers=1), Progress("quiet"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("curate.steps.select.step", fromlist=["step"]).SELECTORS, "first", First)
        select("near", {"budget": 40, "first": {"targets": "bbh"}})
        select("drawn", {"budget": 90, "random": {"seed": 3}, "quota": {"column": "task", "most": {"gsm8k": 5}}})
        yield Run(conversations, target, scores, outputs)


@pytest.fixture(scope="module")
def found(made: Run) -> Selection:
    (selection,) = selections(made.outputs)
    return selection


def test_lengths_are_those_of_the_texts(made: Run, found: Selection) -> None:
    def middle(of: Sequence[Conversation]) -> tuple[float, float, float]:
        asked = [sum(len(t.content) for t in each if t.role != "assistant") for each in of]
        said = [sum(len(t.content) for t in each if t.role == "assistant") for each in of]
        return mean(map(len, of)), median(asked), median(said)

    assert (found.turns, found.question, found.answer) == pytest.approx(middle(made.conversations))
    for pick in found.picks:
        taken = [made.conversations[i] for i in made.taken(pick.name)]
        assert pick.rows == len(taken)
        assert pick.share == len(taken) / 360
        assert (pick.turns, pick.question, pick.answer) == pytest.approx(middle(taken))
        assert [each.pick for each in pick.lengths] == [pick.answer, pick.question, median(map(len, taken))]


def test_overlaps_are_those_of_the_rows(made: Run, found: Selection) -> None:
    near, drawn = (set(made.taken(name)) for name in ("near", "drawn"))
    lengths = [sum(len(t.content) for t in each if t.role == "assistant") for each in made.conversations]
    order = sorted(range(360), key=lambda i: (-lengths[i], i))
    assert found.columns == ("near", "drawn", "longest*")
    for line, mine in zip(found.overlaps, (near, drawn), strict=True):
        others = [near, drawn, set(order[: len(mine)])]
        for cell, other in zip(line.cells, others, strict=True):
            if other is mine:
                assert cell is None
            else:
                assert cell is not None
                assert cell.rows == len(mine & other)
                assert cell.share == pytest.approx(len(mine & other) / len(mine))
                assert cell.jaccard == pytest.approx(len(mine & other) / len(mine | other))


def test_a_run_without_a_random_pick_is_compared_with_one_that_is_drawn(made: Run) -> None:
    (alone,) = selections({name: each for name, each in made.outputs.items() if name != "drawn"})
    assert alone.columns == ("near", "random*", "longest*")
    keys = gumbel([f"{i:05d}" for i in range(360)], 0)
    chance = set(np.argsort(-keys, kind="stable")[:40].tolist())
    cell = alone.overlaps[0].cells[1]
    assert cell is not None
    assert cell.rows == len(chance & set(made.taken("near")))


def test_copies_and_near_copies_within_a_pick_are_found(made: Run, found: Selection) -> None:
    def shingles(i: int) -> set[tuple[str, ...]]:
        said = words(made.conversations[i])
        return {tuple(said[j : j + 3]) for j in range(len(said) - 2)}

    near = found.picks[0]
    taken = made.taken("near")
    said = Counter(tuple(words(made.conversations[i])) for i in taken)
    assert near.copies == sum(times - 1 for times in said.values()) == 1
    sets = [shingles(i) for i in taken]
    repeats = {
        i for i, mine in enumerate(sets) for other in sets[:i] if len(mine & other) >= 0.8 * max(1, len(mine | other))
    }
    assert near.near == len(repeats) == 2
    assert [(pair.one.row.id, pair.other.row.id) for pair in near.repeats] == [("00004", "00001"), ("00005", "00000")]


def test_examples_that_stand_in_the_pool_are_counted(made: Run, found: Selection) -> None:
    (reported,) = found.picks[0].contamination

    def runs(conversation: Conversation) -> set[tuple[str, ...]]:
        said = words(conversation)
        return {tuple(said[j : j + 13]) for j in range(len(said) - 12)}

    taken = [made.conversations[i] for i in made.taken("near")]
    for places, index in ((made.conversations, 0), (taken, 1)):
        asked = {tuple(words(each, "question")) for each in places}
        shared = set().union(*map(runs, places))
        assert reported.questions[index] == sum(tuple(words(each, "question")) in asked for each in made.target)
        assert reported.runs[index] == sum(bool(runs(each) & shared) for each in made.target)
    assert reported.target == "bbh"
    assert reported.examples == 25
    assert reported.questions == (1, 1)
    assert reported.runs == (3, 2)
    first = reported.shown[0]
    assert (first.one.row.id, first.other.row.id) == ("00000", "00003")  # an example of the pick first


def test_scores_of_the_pick_stand_beside_those_of_the_pool(made: Run, found: Selection) -> None:
    (spread,) = [each for each in found.picks[1].scores if each.name == "quality"]
    taken = [made.scores[i] for i in made.taken("drawn")]
    assert spread.about == "scores"
    assert spread.pool == median(each for each in made.scores if each is not None)
    assert spread.pick == median(each for each in taken if each is not None)
    assert spread.without == sum(each is None for each in taken)
    assert spread.figure.nulls == sum(each is None for each in made.scores)


def test_values_of_a_column_have_their_parts_of_pool_and_pick(made: Run, found: Selection) -> None:
    (tasks,) = [each for each in found.picks[1].values if each.name == "task" and each.about == "pool"]
    taken = made.taken("drawn")
    assert [(each.value, each.rows, each.taken) for each in tasks.values] == [
        ("dolly", 300, sum(i < 300 for i in taken)),
        ("gsm8k", 60, 5),
    ]
    assert [each.pool for each in tasks.values] == pytest.approx([100 * 300 / 360, 100 * 60 / 360])
    assert tasks.values[1].pick == pytest.approx(100 * 5 / 90)


def test_files_have_their_parts_of_pool_and_pick(made: Run) -> None:
    (again,) = selections({name: Dataset.open(each.folder) for name, each in made.outputs.items()})
    for pick in again.picks:
        (files,) = [each for each in pick.values if each.name == "source"]
        first = sum(i < 120 for i in made.taken(pick.name))
        assert [(each.value, each.rows, each.taken) for each in files.values] == [
            ("two.jsonl", 240, pick.rows - first),
            ("one.jsonl", 120, first),
        ]


def test_every_row_has_a_reason_and_the_cut_is_shown(made: Run, found: Selection) -> None:
    near, drawn = found.picks
    assert dict(near.reasons) == {"not selected": 320}
    assert dict(drawn.reasons) == Counter(row["reason"] for row in rows(made.outputs["drawn"]) if not row["keep"])
    assert [case.row.id for case in near.first] == ["00000", "00001", "00002"]
    assert [case.row.id for case in near.last] == ["00037", "00038", "00039"]
    assert [case.row.id for case in near.next] == ["00040", "00041", "00042"]
    assert near.last[-1].said == "rank 40 · score -39 · for bbh"
    assert near.facts == (("might be taken", "360"), ("radius", "0.25"))


def test_picks_stand_beside_their_nearest_examples(made: Run, found: Selection) -> None:
    taken = rows(made.outputs["near"])
    assert [pair.one.row.id for pair in found.picks[0].nearest] == ["00000", "00013", "00026", "00039"]
    for pair in found.picks[0].nearest:
        example = taken[int(pair.one.row.id)]["nearest"]
        assert pair.other.row.id == example
        said = " ".join(made.target[int(str(example))][0].content.split())
        assert pair.other.row.text.startswith(f"user: {said[:100]}")


def test_hostile_conversations_are_shown_as_text(made: Run) -> None:
    page = build_report("demo", made.outputs)
    assert "<script" not in page
    assert not [tag for tag, _ in Page(page).tags if tag in ("script", "img")]
    assert HOSTILE in Page(section(page, "selection")).text


def test_the_page_tells_each_figure_once_more(made: Run, found: Selection) -> None:
    page = build_report("demo", made.outputs)
    text = Page(section(page, "selection")).text
    cell = found.overlaps[0].cells[1]
    assert cell is not None
    assert f"{100 * cell.share:.1f} % {cell.jaccard:.3f}" in text
    assert "near first 40 11.1 %" in text
    links = {a["href"][1:] for _, a in Page(page).tags if (a.get("href") or "").startswith("#")}  # type: ignore[index]
    assert links <= {a["id"] for _, a in Page(page).tags if "id" in a}


def test_a_selection_decides_of_the_run(made: Run) -> None:
    page = build_report("demo", made.outputs)
    reported = funnel(page)
    assert reported["read"] == 360 == sum(rows for name, rows in reported.items() if name != "read")
    assert reported["kept"] == 90
    assert "Of 360 records, 90 (25.0 %) were kept; 270 were not selected." in Page(page).text


def test_pools_are_distinguished(made: Run, tmp_path: Path) -> None:
    assert [each.pool for each in selections(made.outputs)] == ["pool"]
    assert selections({"pool": made.outputs["pool"]}) == []


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c d", ""]), max_size=4), max_size=6), st.integers(1, 3))
def test_runs_of_words_are_those_of_each_conversation_alone(said: list[list[str]], length: int) -> None:
    conversations = [tuple(Turn("user", text) for text in each) for each in said]
    found = Wording.of(to_arrow(conversations), "text")
    hashes, owner = found.runs(length)
    for i, each in enumerate(conversations):
        mine = " ".join(turn.content for turn in each).split()
        assert (owner == i).sum() == max(0, len(mine) - length + 1)
        alone = Wording.of(to_arrow([each]), "text")
        assert alone.runs(length)[0].tolist() == hashes[owner == i].tolist()
        assert alone.whole()[0] == found.whole()[i]
        assert alone.signatures().tolist() == found.signatures()[i : i + 1].tolist()


def test_the_part_of_equal_positions_in_signatures_is_the_jaccard_index() -> None:
    draw = np.random.default_rng(5)
    for shared in (20, 60, 95):
        common = [f"w{i}" for i in draw.integers(0, 10**6, shared)]
        rest = [[f"{side}{i}" for i in draw.integers(0, 10**6, 100 - shared)] for side in "xy"]
        one, other = (tuple([Turn("user", " ".join([*common, *each]))]) for each in rest)
        found = Wording.of(to_arrow([one, other]), "text").signatures()
        sets = [{tuple(words(each)[j : j + 3]) for j in range(98)} for each in (one, other)]
        truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        assert (found[0] == found[1]).mean() == pytest.approx(truth, abs=0.13)  # three standard errors
        assert bool(alike(found)) == (truth > 0.8)


def test_how_many_rows_are_read_at_once_changes_nothing_that_is_found(made: Run) -> None:
    docs, target = made.outputs["pool"], made.outputs["bbh"]
    picks = [Pick.of(name, made.outputs[name], docs) for name in ("near", "drawn")]
    whole, cut = read_pool(docs, picks, [target]), read_pool(docs, picks, [target], at_once=7)
    assert (cut.ids, cut.copies) == (whole.ids, whole.copies)
    for name in ("turns", "questions", "answers"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))
    for one, other in zip(cut.signatures, whole.signatures, strict=True):
        np.testing.assert_array_equal(one, other)
    ((mine,), (others,)) = cut.seen.values(), whole.seen.values()
    for each, like in ((mine.questions, others.questions), (mine.runs, others.runs)):
        assert like.picked.any()
        np.testing.assert_array_equal(each.first, like.first)
        np.testing.assert_array_equal(each.picked, like.picked)
