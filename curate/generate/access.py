"""What a step that asks models works with: the ledgers of its run, and its part of the budget.

with open_access(endpoints, "runs/demo/ledger", replay=False, host="127.0.0.1") as access:
    job.map("", functools.partial(_Make, access, config), tasks)
async with access.session("made/part-00000", names=["large"]) as ask:      # in a worker
    completion = await ask(request)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

from curate.core import files
from curate.core.errors import ConfigError, RunError
from curate.generate.ask import Ask
from curate.generate.budget import Address, BudgetClient, BudgetServer, serve_budget
from curate.generate.endpoints import Endpoints
from curate.generate.ledger import Amount, Ledger, answers_in, spent_in
from curate.generate.prices import dollars
from curate.generate.recorded import find_ledgers, import_recorded

FOLDER = "ledger"


@dataclass(frozen=True)
class Access:
    """How the workers of a step ask; the same for all of them, and sent to them.

    Attributes:
        endpoints: endpoints, caps and prices.
        folder: where the run's ledgers lie.
        others: ledgers with recorded answers.
        replay: whether nobody is asked.
        place: of the budget's coordinator; None without a budget.
    """

    endpoints: Endpoints
    folder: str
    others: tuple[str, ...]
    replay: bool
    address: Address | None = None

    @contextlib.asynccontextmanager
    async def session(self, ledger: str, names: Sequence[str]) -> AsyncIterator[Ask]:
        """Ask some endpoints, on record in one ledger, which this process alone writes meanwhile.

        Args:
            ledger: its name below the folder: `step/part-00000`.
            names: of the endpoints.
        """
        path = os.path.join(self.folder, f"{ledger}.sqlite")
        # The same step over other shards: what it asked is there, in files of another cut.
        beside = [each for each in find_ledgers(os.path.dirname(os.path.dirname(path))) if _step(each) == _step(path)]
        older = [each for each in beside if os.path.dirname(each) != os.path.dirname(path)]
        book = Ledger(path, [*older, *self.others])
        client: BudgetClient | None = None
        try:
            client = await BudgetClient.open(self.address, path) if self.address is not None else None
            async with Ask(self.endpoints, book, client, names, replay=self.replay) as ask:
                yield ask
        finally:
            if client is not None:
                await client.close()
            book.close()


def ledger_name(step: str, inputs: str, shard: str) -> str:
    """The ledger of a shard: another cut of the input gets ledgers of its own, and reads these.

    Args:
        step: its name.
        inputs: the digest of what it reads.
        shard: the name of the task.
    """
    return f"{step}.{inputs[:8]}/{shard.removesuffix('.parquet')}"


def _step(path: str) -> str:
    return os.path.basename(os.path.dirname(path)).rsplit(".", 1)[0]


@contextlib.contextmanager
def open_access(endpoints: Endpoints, folder: str, *, replay: bool, host: str) -> Iterator[Access]:
    """What a step may use while the block lasts: the budget is lent by this process.

    Args:
        endpoints: endpoints, caps and prices.
        folder: of the run's ledgers.
        replay: whether nobody is asked, whatever is missing.
        host: this machine, as the workers see it.

    Raises:
        ConfigError: the folder is in an object store, where no ledger can be written.
    """
    if files.is_remote(folder):
        raise ConfigError(f"{folder}: ledgers need a file system that all workers share; choose another --root")
    os.makedirs(folder, exist_ok=True)
    access = Access(endpoints, folder, import_recorded(endpoints.ledgers, folder), replay)
    if endpoints.caps is None or replay:
        yield access
        return
    budget = BudgetServer(endpoints.caps, spent_so_far(folder))
    with serve_budget(budget, host) as address:
        yield replace(access, address=address)


def spent_so_far(folder: str) -> dict[str, Amount]:
    """What all ledgers below a folder say was billed, or may have been, by model."""
    total: dict[str, Amount] = {}
    for path in find_ledgers(folder):
        for model, amount in spent_in(path).items():
            total[model] = total.get(model, Amount()).plus(amount)
    return total


def reported_so_far(folder: str, step: str) -> str:
    """How many answers the ledgers of a step have, and what all ledgers cost, in a few words."""
    try:
        answers = sum(answers_in(path) for path in find_ledgers(folder) if _step(path) == step)
        money = sum(amount.money for amount in spent_so_far(folder).values())
    except RunError:
        return "a ledger begins"  # a worker is making it at this moment
    return f"{answers:,} answers" + (f" · {dollars(money)} at most" if money else "")
