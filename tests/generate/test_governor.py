"""The governor, with a clock that moves when a test moves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import wraps

from curate.generate.governor import Governor, Open


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Turns that a test takes and gives back by hand."""

    def __init__(self, governor: Governor) -> None:
        self.governor = governor
        self.stacks: list[contextlib.AsyncExitStack] = []

    async def take(self) -> bool:
        stack = contextlib.AsyncExitStack()
        mine = await stack.enter_async_context(self.governor.turn())
        self.stacks.append(stack)
        return mine

    async def give(self) -> None:
        await self.stacks.pop(0).aclose()


async def settle() -> None:
    """Let everything that can go on, go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def in_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10))  # type: ignore[arg-type]

    del run.__wrapped__  # pytest would look for what the wrapped one takes
    return run


@in_a_loop
async def test_it_starts_low_and_holds_the_others_back() -> None:
    held = Held(Governor(64))
    tasks = [asyncio.create_task(held.take()) for _ in range(20)]
    await settle()
    assert held.governor.allowed == 8 == len(held.stacks) and held.governor.waiting == 12
    await held.give()
    await settle()
    assert held.governor.waiting == 11
    for task in tasks:
        task.cancel()


@in_a_loop
async def test_one_more_is_allowed_after_a_run_of_answers_and_never_more_than_the_most() -> None:
    governor = Governor(10)
    for _ in range(3):
        governor.succeeded()
    assert governor.allowed == 8
    governor.succeeded()
    assert governor.allowed == 9
    governor.failed()  # the run begins anew
    for _ in range(4):
        governor.succeeded()
    assert governor.allowed == 10
    for _ in range(100):
        governor.succeeded()
    assert governor.allowed == 10


@in_a_loop
async def test_requests_that_were_limited_together_cut_it_once() -> None:
    clock = Clock()
    governor = Governor(64, clock)
    for _ in range(8):
        governor.limited(0.0)
    assert governor.allowed == 6
    clock.now += 1
    governor.limited(0.0)
    assert governor.allowed == 4  # 8 x 0.75 x 0.75 = 4.5
    for _ in range(40):
        clock.now += 1
        governor.limited(0.0)
    assert governor.allowed == 1


@in_a_loop
async def test_nothing_is_sent_before_retry_after_is_over() -> None:
    clock = Clock()
    held = Held(Governor(64, clock))
    held.governor.limited(30.0)
    first = asyncio.create_task(held.take())
    clock.now += 29.9
    second = asyncio.create_task(held.take())
    await settle()
    assert not first.done() and not second.done()
    assert held.governor.resting and held.governor.load == float("inf")
    clock.now += 0.1
    third = asyncio.create_task(held.take())
    await settle()
    assert first.done() and second.done() and third.done()


@in_a_loop
async def test_a_timer_wakes_those_that_wait_for_retry_after() -> None:
    held = Held(Governor(64))
    held.governor.limited(0.02)
    assert await held.take()


@in_a_loop
async def test_after_eight_failures_it_is_left_alone_and_then_asked_once() -> None:
    clock = Clock()
    held = Held(Governor(64, clock))
    for _ in range(7):
        held.governor.failed()
    assert not held.governor.resting
    held.governor.failed()
    assert held.governor.resting
    clock.now += 0.5
    assert not held.governor.resting
    tasks = [asyncio.create_task(held.take()) for _ in range(5)]
    await settle()
    assert len(held.stacks) == 1 and held.governor.resting  # the probe
    held.governor.succeeded()
    await held.give()
    await settle()
    assert all(task.done() and task.result() for task in tasks)
    assert not held.governor.resting and held.governor.down_since is None


@in_a_loop
async def test_a_probe_that_fails_doubles_the_rest_and_sends_those_that_wait_elsewhere() -> None:
    clock = Clock()
    held = Held(Governor(64, clock))
    for _ in range(8):
        held.governor.failed()
    clock.now += 0.5
    probe = asyncio.create_task(held.take())
    others = [asyncio.create_task(held.take()) for _ in range(3)]
    await settle()
    held.governor.failed()
    await settle()
    assert probe.result() and [each.result() for each in others] == [False] * 3
    clock.now += 0.99
    assert held.governor.resting
    clock.now += 0.01
    await held.give()
    assert not held.governor.resting
    assert held.governor.down_since == 100.0


@in_a_loop
async def test_a_request_from_before_the_failures_does_not_end_the_probe() -> None:
    clock = Clock()
    held = Held(Governor(64, clock))
    await held.take()
    for _ in range(8):
        held.governor.failed()
    clock.now += 0.5
    await held.take()  # the probe
    await held.give()  # the old one
    waiting = asyncio.create_task(held.take())
    await settle()
    assert not waiting.done()
    await held.give()
    assert await waiting


@in_a_loop
async def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    held = Held(Governor(1))
    await held.take()
    gone, next_ = asyncio.create_task(held.take()), asyncio.create_task(held.take())
    await settle()
    gone.cancel()
    await settle()
    await held.give()
    assert await next_


@in_a_loop
async def test_a_way_that_takes_any_number_learns_nothing_from_failures() -> None:
    held = Held(Open(50))
    for _ in range(100):
        held.governor.failed()
        held.governor.limited(30.0)
    tasks = [asyncio.create_task(held.take()) for _ in range(51)]
    await settle()
    assert len(held.stacks) == 50 and held.governor.down_since is None
    await held.give()
    assert all(await asyncio.gather(*tasks))
