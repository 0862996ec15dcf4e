"""What a person sees while a run goes on: bars on a terminal, plain lines elsewhere, JSON lines on request.

with Progress("auto") as progress:
with progress.step("scores", total=12) as advance:
advance(1, rows=4000, quarantined=0)
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, Protocol, TypeAlias

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

# Between two looks at what goes on within a task: on a bar, and as lines.
_BAR_SECONDS, _LINE_SECONDS = 3.0, 30.0

Style: TypeAlias = Literal["auto", "plain", "json", "quiet"]
Event: TypeAlias = "dict[str, str | int | float]"


class Advance(Protocol):
    """Called once a task that is done."""

    def __call__(self, tasks: int, *, rows: int, quarantined: int) -> None:
        """Add what was done."""
        ...


class Progress:
    """Reports steps as they begin, go on and end; `log` gets every event as well."""

    def __init__(self, style: Style = "auto", log: Callable[[Event], None] | None = None) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._style = style
        self._log = log
        self._bars: Bars | None = None

    def __enter__(self) -> Progress:
        if self._style == "auto" and self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def event(self, name: str, **fields: str | int | float) -> None:
        """Record an event: a JSON line when asked for, always in the log."""
        event: Event = {"event": name, **fields}
        if self._log is not None:
            self._log(event)
        if self._style == "json":
            sys.stdout.write(orjson.dumps(event).decode() + "\n")
            sys.stdout.flush()

    def line(self, text: str) -> None:
        """A line for a person."""
        if self._style in ("auto", "plain"):
            self._console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def watch(self, name: str, report: Callable[[], str]) -> Iterator[None]:
        """Show every now and then what `report` says, while the block lasts: for tasks that take long.

        Args:
            name: of the step.
            report: called in a thread; what it says is shown as it is.
        """
        over = threading.Event()
        every = _BAR_SECONDS if self._bars is not None else _LINE_SECONDS

        def look() -> None:
            while not over.wait(every):
                text = report()
                if self._bars is not None:
                    for task in self._bars.tasks:
                        self._bars.update(task.id, note=text)
                else:
                    self.line(f"{name:<12} {text}")
                self.event("told", step=name, text=text)

        thread = threading.Thread(target=look, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextlib.contextmanager
    def step(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Follow `total` tasks of a step, of which `done` were done by an earlier run."""
        bar = self._bars.add_task(name, total=total, completed=done, note="") if self._bars else None
        started = last = time.monotonic()
        state = {"tasks": done, "rows": 0, "quarantined": 0}

        def advance(tasks: int, *, rows: int, quarantined: int) -> None:
            nonlocal last
            state["tasks"] += tasks
            state["rows"] += rows
            state["quarantined"] += quarantined
            now = time.monotonic()
            rate = state["rows"] / max(now - started, 1e-9)
            note = f"{state['rows']:,} rows · {rate:,.0f}/s"
            if state["quarantined"]:
                note += f" · {state['quarantined']:,} quarantined"
            if self._bars is not None and bar is not None:
                self._bars.update(bar, completed=state["tasks"], note=note)
            elif self._style in ("auto", "plain") and now - last > 10 and state["tasks"] < total:
                last = now
                self.line(f"{name:<12} {state['tasks']}/{total} · {note}")
            if self._style == "json":
                self.event("progress", step=name, total=total, **state)

        try:
            yield advance
        finally:
            if self._bars is not None and bar is not None:
                self._bars.remove_task(bar)
