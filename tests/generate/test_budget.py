"""The budget: no cap is passed by any number of workers, and nobody waits for what will never come."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import RunError
from curate.generate.budget import Address, BudgetClient, BudgetServer, amount_of, serve_budget
from curate.generate.endpoints import Cap, Caps
from curate.generate.ledger import Amount, Attempt, Ledger
from curate.generate.prices import DOLLAR
from tests.generate.asking import chat

MODELS = ("small", "large")
NOTHING = Amount()
amounts = st.builds(Amount, st.integers(0, 40), st.integers(0, 40), st.integers(1, 4))
# A worker does one thing: draws, spends a part of what it has and gives back a part, or leaves with its ledger.
moves = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["draw", "draw", "give", "leave"]), st.sampled_from(MODELS), amounts,
        st.integers(1, 4), st.floats(0, 1), st.floats(0, 1),
    ),
    max_size=60,
)  # fmt: skip
caps = st.builds(
    Caps,
    usd=st.none() | st.integers(0, 100).map(lambda pico: pico / DOLLAR),
    tokens=st.none() | st.integers(0, 100),
    requests=st.none() | st.integers(0, 12),
    models=st.dictionaries(st.just("small"), st.builds(Cap, tokens=st.integers(0, 50), requests=st.integers(0, 6))),
)


@dataclass
class Worker:
    loan: Any
    held: dict[str, Amount] = field(default_factory=lambda: dict.fromkeys(MODELS, NOTHING))
    ledger: dict[str, Amount] = field(default_factory=lambda: dict.fromkeys(MODELS, NOTHING))
    asked: list[tuple[str, Amount]] = field(default_factory=list)
    refused: int = 0

    def answered(self, granted: Amount | None) -> None:
        model, need = self.asked.pop()
        if granted is None:
            self.refused += 1
            return
        assert granted.covers(need)
        self.held[model] = self.held[model].plus(granted)


def part(amount: Amount, share: float) -> Amount:
    return Amount(*(int(each * share) for each in amount))


def total(amounts: list[Amount]) -> Amount:
    return Amount(*map(sum, zip(NOTHING, *amounts, strict=True)))


def within(caps: Caps, spent: dict[str, Amount], workers: list[Worker]) -> None:
    used = {m: total([spent[m], *(w.held[m] for w in workers)]) for m in MODELS}
    assert amount_of(caps).covers(total(list(used.values())))
    for model, cap in caps.models.items():
        assert amount_of(cap).covers(used[model])


@settings(max_examples=300)
@given(caps, moves)
def test_what_is_spent_and_lent_never_passes_a_cap_and_all_that_can_be_answered_is(
    caps: Caps, moves: list[Any]
) -> None:
    budget = BudgetServer(caps, {})
    spent = dict.fromkeys(MODELS, NOTHING)
    workers = [Worker(budget.enter(f"ledger-{i}", {})) for i in range(3)]
    for i, move, model, need, times, share, back in moves:
        worker = workers[i]
        if move == "draw" and not worker.asked:
            worker.asked.append((model, need))
            budget.draw(worker.loan, model, need, Amount(*(times * each for each in need)), worker.answered)
        elif move == "give":
            used, rest = (
                part(worker.held[model], share),
                part(worker.held[model].minus(part(worker.held[model], share)), back),
            )
            worker.held[model] = worker.held[model].minus(used).minus(rest)
            worker.ledger[model] = worker.ledger[model].plus(used)
            spent[model] = spent[model].plus(used)
            budget.give(worker.loan, model, used, rest)
        elif move == "leave":
            for each in MODELS:  # some of what it spent it never events
                used = part(worker.held[each], share)
                worker.ledger[each] = worker.ledger[each].plus(used)
                spent[each] = spent[each].plus(used)
                worker.held[each] = NOTHING
            budget.leave(worker.loan, worker.ledger)
            workers[i] = Worker(budget.enter(f"ledger-{i}", {}))
        within(caps, spent, workers)
        if not any(w.held[m] != NOTHING for w in workers for m in MODELS):
            assert not budget.waits
            assert dict.fromkeys(MODELS, NOTHING) | dict(budget.spent) == spent
    for worker in list(workers):
        budget.leave(worker.loan, worker.ledger)
        worker.held = dict.fromkeys(MODELS, NOTHING)
    assert dict.fromkeys(MODELS, NOTHING) | dict(budget.spent) == spent
    assert not budget.waits


@given(st.lists(amounts, min_size=1, max_size=10))
def test_what_is_given_back_can_be_drawn_again(needs: list[Amount]) -> None:
    cap = Amount(400, 400, 40)
    budget = BudgetServer(Caps(usd=cap.money / DOLLAR, tokens=cap.tokens, requests=cap.requests), {})
    first, second = budget.enter("a", {}), budget.enter("b", {})
    granted: list[Amount | None] = []
    for need in needs:
        budget.draw(first, "small", need, need, granted.append)
    for each in granted:
        assert each is not None
        budget.give(first, "small", NOTHING, each)
    budget.draw(second, "small", cap, cap, granted.append)
    assert granted[-1] == cap


def test_one_worker_draws_no_more_than_half_of_what_is_left_for_all() -> None:
    budget = BudgetServer(Caps(requests=100), {})
    first, _ = budget.enter("a", {}), budget.enter("b", {})
    granted: list[Amount | None] = []
    budget.draw(first, "small", Amount(0, 0, 1), Amount(0, 0, 64), granted.append)
    assert granted == [Amount(0, 0, 25)]


def test_what_an_earlier_run_spent_is_spent() -> None:
    budget = BudgetServer(Caps(tokens=10), {"small": Amount(0, 8, 1)})
    answers: list[Amount | None] = []
    loan = budget.enter("a", {})
    for tokens in (3, 2):
        budget.draw(loan, "small", Amount(0, tokens, 1), Amount(0, tokens, 1), answers.append)
    assert answers[0] is None and answers[1] is not None and answers[1].tokens == 2


def ledger(tmp_path: Path, name: str) -> str:
    path = str(tmp_path / f"{name}.sqlite")
    Ledger(path).close()
    return path


NEED = Amount(100, 10, 1)


def test_a_worker_waits_until_another_has_settled(tmp_path: Path) -> None:
    async def main(address: Address) -> list[str]:
        events: list[str] = []
        first = await BudgetClient.open(address, ledger(tmp_path, "a"))
        second = await BudgetClient.open(address, ledger(tmp_path, "b"))
        assert await first.reserve("small", NEED)

        async def other() -> None:
            assert await second.reserve("small", NEED)
            events.append("the other has it")

        waiting = asyncio.create_task(other())
        # Once the first can draw nothing more, what it asks says that the second is heard and waits.
        assert not await asyncio.wait_for(first.reserve("small", Amount(100, 1000, 1)), 10)
        assert not waiting.done()
        events.append("the first settles")
        first.settle("small", NEED, Amount(10, 1, 1))
        await asyncio.wait_for(waiting, 10)
        second.settle("small", NEED, NEED)
        assert not await second.reserve("small", NEED)
        await first.close()
        await second.close()
        return events

    budget = BudgetServer(Caps(tokens=11, requests=10), {})
    with serve_budget(budget, "127.0.0.1") as address:
        assert asyncio.run(main(address)) == ["the first settles", "the other has it"]


def test_many_workers_together_spend_the_whole_cap_and_not_more(tmp_path: Path) -> None:
    async def worker(address: Address, name: str) -> int:
        client = await BudgetClient.open(address, ledger(tmp_path, name))
        done = 0

        async def one() -> None:
            nonlocal done
            if await client.reserve("small", NEED):
                await asyncio.sleep(0)
                client.settle("small", NEED, Amount(50, 5, 1))
                done += 1

        await asyncio.gather(*(one() for _ in range(40)))
        await client.close()
        return done

    async def main(address: Address) -> list[int]:
        return await asyncio.gather(*(worker(address, f"w{i}") for i in range(5)))

    budget = BudgetServer(Caps(tokens=503), {})
    with serve_budget(budget, "127.0.0.1") as address:
        done = asyncio.run(main(address))
    # 5 tokens each, until no 10 are left for a worst case.
    assert sum(done) == 99


@pytest.mark.parametrize("model", ["small", "large"])
def test_a_cap_of_one_model_binds_that_model_alone(tmp_path: Path, model: str) -> None:
    async def main(address: Address) -> int:
        client = await BudgetClient.open(address, ledger(tmp_path, "a"))
        done = 0
        while done < 10 and await client.reserve(model, NEED):
            client.settle(model, NEED, NEED)
            done += 1
        await client.close()
        return done

    with serve_budget(BudgetServer(Caps(requests=7, models={"small": Cap(requests=3)}), {}), "127.0.0.1") as address:
        assert asyncio.run(main(address)) == {"small": 3, "large": 7}[model]


def test_a_worker_that_dies_has_spent_what_its_ledger_says(tmp_path: Path) -> None:
    async def main(address: Address) -> bool:
        path = ledger(tmp_path, "a")
        book = Ledger(path)
        dying, other = await BudgetClient.open(address, path), await BudgetClient.open(address, ledger(tmp_path, "b"))
        for id in ("a1", "a2"):
            assert await dying.reserve("small", NEED)
            await book.begin(Attempt(id, chat(id).key, "small", NEED))
        await book.settle("a1", "settled", Amount(40, 4, 1))
        dying._writer.transport.abort()  # nothing was events, nothing was given back
        rest = Amount(0, 86, 1)
        got = await asyncio.wait_for(other.reserve("small", rest), 10)
        assert got
        other.settle("small", rest, rest)
        more = await other.reserve("small", Amount(0, 1, 1))
        await other.close()
        await dying.close()
        book.close()
        return more

    budget = BudgetServer(Caps(tokens=100), {})
    with serve_budget(budget, "127.0.0.1") as address:
        assert asyncio.run(main(address)) is False
    assert budget.spent["small"].tokens == 4 + 10 + 86


def test_a_worker_without_the_word_is_not_served(tmp_path: Path) -> None:
    async def main(address: Address) -> None:
        await BudgetClient.open(Address(address.host, address.port, "another"), ledger(tmp_path, "a"))

    with (
        serve_budget(BudgetServer(Caps(requests=1), {}), "127.0.0.1") as address,
        pytest.raises(RunError, match="ended the connection"),
    ):
        asyncio.run(main(address))


def test_a_coordinator_that_is_gone_stops_the_worker(tmp_path: Path) -> None:
    coordinator = contextlib.ExitStack()
    address = coordinator.enter_context(serve_budget(BudgetServer(Caps(requests=1), {}), "127.0.0.1"))

    async def main() -> None:
        client = await BudgetClient.open(address, ledger(tmp_path, "a"))
        assert await client.reserve("small", NEED)
        waiting = asyncio.create_task(client.reserve("small", NEED))
        await asyncio.sleep(0)
        coordinator.close()
        with pytest.raises(RunError, match="coordinator is gone"):
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(RunError, match="coordinator is gone"):
            await asyncio.wait_for(client.reserve("small", NEED), 10)
        await client.close()
        with pytest.raises(RunError, match="cannot be reached"):
            await BudgetClient.open(address, ledger(tmp_path, "a"))

    asyncio.run(main())
