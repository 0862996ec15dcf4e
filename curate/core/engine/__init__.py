"""Engines: how a function is mapped over shards. `local` here or over processes, `ray` on a cluster.

engine = LocalEngine(workers=2)
for outcome in engine.map(make, items, resources=Resources(), label="score"):
...
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from curate.core.bits import Mode

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Resources:
    """What a step may use; never part of its identity.

    Attributes:
        workers: processes (local) or actors (Ray); None takes every core there is, or every GPU if they need one.
        gpus: GPUs that an actor on Ray gets to see; of a share, several actors share one.
        retries: how often an item is given to another worker after a crash or a timeout.
        timeout: seconds one item may take; None waits for ever.
        keep_going: whether a shard that failed for good is listed in the manifest instead of stopping the run.
        bits: of neural models, see `curate.core.bits`; None for what the environment says.
    """

    workers: int | None = None
    gpus: float = 0
    retries: int = 2
    timeout: float | None = None
    keep_going: bool = False
    bits: Mode | None = None


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of one item: its position among the items, and a result or an error in one line.

    `user_error` says that the error is one a person can fix (a missing column), so that no retry helps.
    """

    index: int
    result: R | None = None
    error: str | None = None
    user_error: bool = False


class Engine(Protocol):
    """Maps a function over items and yields outcomes as they come, in any order.

    Attributes:
        name: `local` or `ray`.
        host: the address of this process as its workers see it.
    """

    name: str
    host: str

    def map(
        self, make: Callable[[], Callable[[T], R]], items: Sequence[T], *, resources: Resources, label: str
    ) -> Generator[Outcome[R], None, None]:
        """Call `make` once a worker and its result once an item.

        A crash or a timeout costs one of the item's `resources.retries`; an exception is its outcome at once.
        """
        ...
