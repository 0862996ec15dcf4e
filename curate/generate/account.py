"""What an outcome comes to in the ledger: the completion, what it cost, and how well that is known.

account = account_for(price, worst, CHAT, outcome)
account.state, account.spent                 # 'settled', what `usage` says
"""

from __future__ import annotations

from dataclasses import dataclass

from curate.generate.ledger import Amount, State
from curate.generate.outcome import Outcome
from curate.generate.prices import Price
from curate.generate.request import Completion, Kind, Unreadable, read_completion


@dataclass(frozen=True)
class Account:
    """Of one attempt.

    Attributes:
        outcome: as it was, or that its answer cannot be read.
        completion: None where there is none.
        spent: what is billed, or the worst where that is not known.
        state: how well that is known.
    """

    outcome: Outcome
    completion: Completion | None
    spent: Amount
    state: State


def account_for(price: Price, worst: Amount, kind: Kind, outcome: Outcome) -> Account:
    """What an attempt comes to, of which `worst` was reserved."""
    completion: Completion | None = None
    if outcome.what == "answer":
        try:
            completion = read_completion(kind, outcome.body)
        except Unreadable as error:
            outcome = Outcome("failed", error="unreadable", message=str(error))
    if completion is not None and not outcome.cut:
        usage = completion.usage
        spent = Amount(price.cost(usage), usage.prompt + usage.completion, 1)
        return Account(outcome, completion, spent, "settled")
    if not outcome.billed:
        return Account(outcome, completion, Amount(), "free")
    return Account(outcome, completion, worst, "stands")
