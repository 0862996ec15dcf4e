"""Recorded answers: exported, imported, and replayed without anybody being asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import ConfigError, RunError
from curate.generate.ask import Ask
from curate.generate.ledger import Ledger
from curate.generate.recorded import export, find_ledgers, import_recorded
from curate.generate.request import Completion, Request
from tests.generate.asking import asking, chat, endpoints, free_port, prompt
from tests.llm.server import serve

REQUESTS = [chat(f"Où est {i} ?") for i in range(6)] + [prompt(f"Once {i}") for i in range(3)]
NOBODY = f"http://127.0.0.1:{free_port()}/v1"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Completion]]:
    """A folder with two ledgers that hold one answer both, and the completions."""
    folder = tmp_path_factory.mktemp("run")

    async def main(name: str, url: str, requests: list[Request]) -> list[Completion]:
        async with asking(folder / "made" / name, endpoints(url)) as ask:
            return await asyncio.gather(*map(ask, requests))

    with serve() as server:
        first = asyncio.run(main("part-00000.sqlite", server.url, REQUESTS[:5]))
        second = asyncio.run(main("part-00001.sqlite", server.url, REQUESTS[4:]))
    return folder, [*first, *second[1:]]


def replay(tmp_path: Path, path: Path, requests: list[Request] = REQUESTS) -> list[Completion]:
    async def main() -> list[Completion]:
        ledger = Ledger(str(tmp_path / "new.sqlite"), import_recorded([str(path)], str(tmp_path / "ledger")))
        try:
            async with Ask(endpoints(NOBODY), ledger, None, ["large"], replay=True) as ask:
                return await asyncio.gather(*map(ask, requests))
        finally:
            ledger.close()

    return asyncio.run(main())


@pytest.mark.parametrize("name", ["answers.parquet", "answers.jsonl"])
def test_what_was_exported_is_replayed_with_the_same_completions(
    tmp_path: Path, run: tuple[Path, list[Completion]], name: str
) -> None:
    folder, completions = run
    assert export(find_ledgers(str(folder)), str(tmp_path / name)) == len(REQUESTS)
    assert replay(tmp_path, tmp_path / name) == completions


def test_a_folder_of_ledgers_is_replayed_as_it_is(tmp_path: Path, run: tuple[Path, list[Completion]]) -> None:
    assert replay(tmp_path, run[0]) == run[1]


def test_an_export_of_an_import_is_the_same_file(tmp_path: Path, run: tuple[Path, list[Completion]]) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    export(find_ledgers(str(run[0])), str(first))
    export(import_recorded([str(first)], str(tmp_path / "ledger")), str(second))
    assert first.read_bytes() == second.read_bytes()
    keys = [orjson.loads(line)["key"] for line in first.read_bytes().splitlines()]
    assert keys == sorted(each.key for each in REQUESTS)


def test_a_file_is_imported_once(tmp_path: Path, run: tuple[Path, list[Completion]]) -> None:
    export(find_ledgers(str(run[0])), str(tmp_path / "a.parquet"))
    (first,) = import_recorded([str(tmp_path / "a.parquet")], str(tmp_path / "ledger"))
    before = Path(first).stat().st_mtime_ns
    assert import_recorded([str(tmp_path / "a.parquet")], str(tmp_path / "ledger")) == (first,)
    assert Path(first).stat().st_mtime_ns == before


def exported(tmp_path: Path, run: tuple[Path, list[Completion]]) -> list[dict[str, object]]:
    export(find_ledgers(str(run[0])), str(tmp_path / "a.jsonl"))
    return [orjson.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()]


def test_a_request_that_was_changed_in_the_file_answers_nothing(
    tmp_path: Path, run: tuple[Path, list[Completion]]
) -> None:
    rows = exported(tmp_path, run)
    for row in rows:
        row["request"]["body"]["temperature"] = 0.5  # type: ignore[index]
    (tmp_path / "changed.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    with pytest.raises(RunError, match="the ledger has no answer to request"):
        replay(tmp_path, tmp_path / "changed.jsonl", REQUESTS[:1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"request": {"endpoint": "large"}}, "row 2 is no recorded answer"),
        ({"request": "not JSON"}, "row 2 is no recorded answer"),
        ({"response": {"choices": []}}, "row 2 is no recorded answer .*without choices"),
        ({"response": "cut {"}, "row 2 is no recorded answer .*no whole JSON"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_damaged_row_is_refused_with_its_number(
    tmp_path: Path, run: tuple[Path, list[Completion]], change: dict[str, object], said: str, ending: str
) -> None:
    rows = exported(tmp_path, run)
    rows[2] |= change
    path = tmp_path / f"damaged.{ending}"
    if ending == "jsonl":
        path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    else:
        texts = ("request", "response")
        plain = [
            {name: each if isinstance(each := row[name], str) else orjson.dumps(each).decode() for name in texts}
            for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(plain), path)
    with pytest.raises(ConfigError, match=said):
        import_recorded([str(path)], str(tmp_path / "ledger"))
    assert find_ledgers(str(tmp_path)) == []


def test_a_line_that_is_no_json_is_refused_with_its_number(tmp_path: Path, run: tuple[Path, list[Completion]]) -> None:
    exported(tmp_path, run)
    (tmp_path / "cut.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes()[:-20])
    with pytest.raises(ConfigError, match=rf"cut\.jsonl:{len(REQUESTS)}: is no JSON object"):
        import_recorded([str(tmp_path / "cut.jsonl")], str(tmp_path / "ledger"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ConfigError, match=r"a\.csv: recorded answers are"):
        import_recorded([str(tmp_path / "a.csv")], str(tmp_path / "ledger"))
    with pytest.raises(ConfigError, match=r"a\.csv: answers are written as"):
        export([], str(tmp_path / "a.csv"))
