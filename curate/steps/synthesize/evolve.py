"""Rounds of one row: what was made of it goes through the recipe again.

    made, dropped = await evolve(maker, recipe, Evolve(count=3, columns={"text": "{{ text }}"}), row, sample=0)

The rows of every round are kept; each is the parent of what the next round makes of it. A row whose evolution fails
ends there (elimination, Xu et al. 2023).
"""

from __future__ import annotations

from curate.steps.synthesize.answers import Rejected
from curate.steps.synthesize.recipe_model import Evolve, Recipe
from curate.steps.synthesize.stages import Maker
from curate.steps.synthesize.synthetic import Dropped, InputRow, SyntheticRow, content, synthetic_id
from curate.steps.synthesize.template import Template


async def evolve(
    maker: Maker, recipe: Recipe, rounds: Evolve, row: InputRow, sample: int
) -> tuple[list[SyntheticRow], list[Dropped]]:
    """What all rounds made of a row.

    Raises:
        Rejected: the first round made nothing.
    """
    made, dropped = await maker.make(row, sample)
    every = list(made)
    before = row
    for _ in range(1, rounds.count):
        last = made[0]
        columns: dict[str, object] = {"text": content(last), **last.columns}
        rendered = {name: Template(text).render(columns) for name, text in rounds.columns.items()}
        key = synthetic_id(before, recipe.name, last.request, sample=sample, place=len(every) - len(made))
        before = InputRow(key, row.source, {**row.columns, **rendered}, (key,))
        try:
            made, lost = await maker.make(before, sample)
        except Rejected as error:
            dropped.append(Dropped(error.reason, error.message))
            break
        every += made
        dropped += lost
    return every, dropped
