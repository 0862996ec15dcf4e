"""The Ray engine: an actor pool on this machine or a cluster. The only module that imports Ray.

    engine = RayEngine(address="auto")
    for outcome in engine.map(make, items, resources=Resources(workers=8), label="score"):
        print(outcome.index, outcome.result)

Items are paths and results are counts: text never travels through the object store, so every node must see
the same files (a shared volume or an object store).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from curate.core import bits
from curate.core.engine import Outcome, Resources
from curate.core.engine.local import Worker
from curate.core.errors import RunError, describe

T = TypeVar("T")
R = TypeVar("R")
# What an actor answers with, and the actors themselves, are dynamic objects of Ray.
Ref: TypeAlias = "ray.ObjectRef[Any]"


@dataclass
class _Running:
    index: int
    actor: ActorHandle[Any]
    started: float


class RayEngine:
    """Connects to the cluster that `address` or RAY_ADDRESS names, or starts Ray on this machine.

    Raises:
        RunError: the cluster cannot be reached.
    """

    name = "ray"

    def __init__(self, address: str | None = None) -> None:
        self._own = False
        if ray.is_initialized():
            return
        where = address or os.environ.get("RAY_ADDRESS")
        try:
            if where:
                ray.init(address=where, log_to_driver=False)
            else:
                ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False)
                self._own = True
        except (ConnectionError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())[:200]
            raise RunError(
                f"no Ray cluster at {where or 'this machine'} ({line}); start one with `ray start --head`"
            ) from None

    @property
    def host(self) -> str:
        """The address of this process as its workers see it: of its own node, or this machine where it runs alone."""
        own: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]  # Ray has no types here
        return "127.0.0.1" if self._own else own

    def close(self) -> None:
        """Stop Ray if it was started here."""
        if self._own:
            ray.shutdown()

    def map(
        self, make: Callable[[], Callable[[T], R]], items: Sequence[T], *, resources: Resources, label: str
    ) -> Generator[Outcome[R], None, None]:
        """See `curate.core.engine.Engine.map`; an item that lost its worker goes to another node if there is one."""
        there = int(_total("CPU"))
        if resources.gpus:
            there = min(there, int(_total("GPU") / resources.gpus))
            if not there:
                raise RunError(
                    f"the cluster has {_total('GPU'):g} GPUs, but --gpus asks for {resources.gpus:g} a worker"
                )
        size = max(1, min(resources.workers or there, len(items)))
        make_ref = ray.put(make)
        hire: Any = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=resources.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            name=None,
            # Read when numpy is imported, which an actor's process does before a message reaches it.
            runtime_env={"env_vars": bits.PORTABLE} if bits.mode() == "portable" else None,
        )
        waiting, lost = deque(range(len(items))), [0] * len(items)
        idle: list[ActorHandle[Any]] = [hire.remote(make_ref) for _ in range(size)]
        running: dict[Ref, _Running] = {}
        try:
            while waiting or running:
                while waiting and idle:
                    index, actor = waiting.popleft(), idle.pop()
                    running[actor.run.remote(index, items[index])] = _Running(index, actor, time.monotonic())
                done, _ = ray.wait(list(running), timeout=_patience(running, resources.timeout))
                late = [] if done or resources.timeout is None else [min(running, key=lambda r: running[r].started)]
                for ref in [*done, *late]:
                    job = running.pop(ref)
                    try:
                        outcome: Outcome[R] = ray.get(ref, timeout=0.1 if ref in late else None)
                        idle.append(job.actor)
                        yield outcome
                        continue
                    except GetTimeoutError:
                        why = f"took longer than {resources.timeout:g} s"
                    except RayTaskError as error:
                        idle.append(job.actor)
                        yield Outcome(job.index, error=describe(error))
                        continue
                    except RayError as error:  # the worker, its node or its memory is gone
                        why = f"the worker died ({str(error).splitlines()[0]})"
                    ray.kill(job.actor)
                    idle.append(hire.remote(make_ref))
                    lost[job.index] += 1
                    if lost[job.index] > resources.retries:
                        yield Outcome(job.index, error=f"{why}, {lost[job.index]} times")
                    else:
                        waiting.append(job.index)
        finally:
            for actor in [*idle, *(job.actor for job in running.values())]:
                ray.kill(actor)


def _total(resource: str) -> float:
    found: float = ray.cluster_resources().get(resource, 0)  # type: ignore[no-untyped-call]  # Ray has no types here
    return found


def _patience(running: dict[Ref, _Running], timeout: float | None) -> float | None:
    if timeout is None:
        return None
    return max(0.0, min(job.started for job in running.values()) + timeout - time.monotonic())
