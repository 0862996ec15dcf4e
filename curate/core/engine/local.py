"""The local engine: this process for one worker, spawned processes for more.

for outcome in LocalEngine().map(make, items, resources=Resources(workers=2), label="score"):
print(outcome.index, outcome.result)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar, cast

from curate.core.engine import Outcome, Resources
from curate.core.errors import ConfigError, describe

T = TypeVar("T")
R = TypeVar("R")


class Worker(Generic[T, R]):
    """Holds what `make` returns, made with the first item; turns every call into an outcome."""

    def __init__(self, make: Callable[[], Callable[[T], R]]) -> None:
        self._make = make
        self._function: Callable[[T], R] | None = None

    def run(self, index: int, item: T) -> Outcome[R]:
        """One call; an exception is its outcome."""
        try:
            if self._function is None:
                self._function = self._make()
            return Outcome(index, self._function(item))
        except Exception as error:
            return Outcome(index, error=describe(error), user_error=isinstance(error, ConfigError))


class LocalEngine:
    """Runs in this process for one worker, over spawned processes for more."""

    name = "local"
    host = "127.0.0.1"

    def map(
        self, make: Callable[[], Callable[[T], R]], items: Sequence[T], *, resources: Resources, label: str
    ) -> Generator[Outcome[R], None, None]:
        """See `curate.core.engine.Engine.map`."""
        workers = min(resources.workers or os.cpu_count() or 1, len(items))
        if workers <= 1 and resources.timeout is None:
            here = Worker(make)
            for index, item in enumerate(items):
                yield here.run(index, item)
            return
        yield from _Pool(make, items, workers, resources, label).run()


@dataclass
class _Process:
    process: BaseProcess
    pipe: Connection
    index: int | None = None  # the item it works on
    started: float = 0.0


class _Pool:
    def __init__(
        self,
        make: Callable[[], Callable[[T], R]],
        items: Sequence[T],
        size: int,
        resources: Resources,
        label: str,
    ) -> None:
        self._make, self._items, self._size, self._resources, self._label = (
            make,
            items,
            size,
            resources,
            label,
        )
        self._context = multiprocessing.get_context("spawn")
        self._waiting = deque(range(len(items)))
        self._lost = [0] * len(items)
        self._workers: list[_Process] = []

    def run(self) -> Iterator[Outcome[R]]:
        left = len(self._items)
        try:
            while left:
                self._hire()
                busy = [w for w in self._workers if w.index is not None]
                wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], self._patience(busy))
                for worker in busy:
                    outcome: Outcome[R] | None = self._check(worker)
                    if outcome is not None:
                        left -= 1
                        yield outcome
        finally:
            for worker in self._workers:
                self._dismiss(worker)

    def _hire(self) -> None:
        for worker in self._workers:
            if worker.index is None and self._waiting:
                self._give(worker)
        while self._waiting and len(self._workers) < self._size:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_work, args=(theirs, self._make), daemon=True)
            process.start()
            theirs.close()
            worker = _Process(process, ours)
            self._workers.append(worker)
            self._give(worker)

    def _give(self, worker: _Process) -> None:
        worker.index = self._waiting.popleft()
        worker.started = time.monotonic()
        # If it died between two items, its sentinel tells.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send((worker.index, self._items[worker.index]))

    def _patience(self, busy: Sequence[_Process]) -> float | None:
        if self._resources.timeout is None:
            return None
        return max(0.0, min(w.started for w in busy) + self._resources.timeout - time.monotonic())

    def _check(self, worker: _Process) -> Outcome[R] | None:
        assert worker.index is not None
        try:
            if worker.pipe.poll():
                outcome = cast("Outcome[R]", worker.pipe.recv())
                worker.index = None
                return outcome
        except (EOFError, ConnectionResetError):
            worker.process.join()
        if not worker.process.is_alive():
            code = worker.process.exitcode or 0
            why = "was killed (out of memory?)" if code == -9 else f"ended with exit code {code}"
            return self._lose(worker, f"the worker {why}")
        timeout = self._resources.timeout
        if timeout is not None and time.monotonic() - worker.started >= timeout:
            return self._lose(worker, f"took longer than {timeout:g} s")
        return None

    def _lose(self, worker: _Process, why: str) -> Outcome[R] | None:
        index = cast(int, worker.index)
        self._dismiss(worker)
        self._workers.remove(worker)
        self._lost[index] += 1
        if self._lost[index] > self._resources.retries:
            return Outcome(index, error=f"{why}, {self._lost[index]} times")
        self._waiting.append(index)
        return None

    def _dismiss(self, worker: _Process) -> None:
        worker.pipe.close()
        if worker.index is None:
            worker.process.join(2)
        if worker.process.is_alive():
            worker.process.kill()
        worker.process.join()


class _NotThere:
    """A finder that knows no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas with the first list that becomes an array: half a second, for every process.

    It looks once whether pandas is there, so as to know a Series. What asks for pandas, as `to_pandas`, still gets it.
    For processes of Curate's own: in another a Series may be around.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _NotThere)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_NotThere)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _work(pipe: Connection, make: Callable[[], Callable[[T], R]]) -> None:
    """The body of a worker process: ends with its parent, or when the pipe is closed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    spare_pandas()
    worker = Worker(make)
    while True:
        try:
            index, item = pipe.recv()
            pipe.send(worker.run(index, item))
        except (EOFError, OSError, KeyboardInterrupt):
            return
