"""The filters of a recipe: which synthetic rows are kept, and why the others are not.

    filters = Filters(Keep(words=Words(least=3)))
    kept, dropped = filters.kept(made, {"text": "The input."})

They are cheap and need no model: what costs more is a `verify` step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curate.steps.synthesize.recipe_model import Keep
from curate.steps.synthesize.synthetic import Dropped, SyntheticRow, content
from curate.steps.synthesize.template import CannotRender, Expression
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.grounded import find_quote
from curate.steps.verify.refusal import copied_prompt, copies_prompt, is_refusal
from curate.text.overlap import Admitted, rouge_l_f1

_COPIED = copied_prompt()
_SHOWN = 500  # characters of a dropped row
_SHARE = 0.5  # of a text's words, as in `copies_prompt`


class Filters:
    """The filters of one recipe, in a fixed order."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def kept(
        self, rows: Sequence[SyntheticRow], context: Mapping[str, object]
    ) -> tuple[list[SyntheticRow], list[Dropped]]:
        """The rows made of one input that are kept, and the others with their reasons.

        Args:
            rows: in order; of two that are alike the first stays.
            context: the columns of the input row.

        Raises:
            CannotRender: the input has no such column.
        """
        kept: list[SyntheticRow] = []
        dropped: list[Dropped] = []
        others = None if self._keep.distinct is None else Admitted(limit=self._keep.distinct.most)
        for made in rows:
            text = content(made)
            reason = self._reason(made, text, context)
            if reason is None and others is not None and not others.admit(text):
                reason = "repeated"
            if reason is None:
                kept.append(made)
            else:
                dropped.append(Dropped(reason, text[:_SHOWN]))
        return kept, dropped

    def _reason(self, made: SyntheticRow, text: str, context: Mapping[str, object]) -> str | None:
        keep = self._keep
        if not text.strip():
            return "empty"
        if keep.words is not None:
            words = len(text.split())
            if words < keep.words.least:
                return "too-short"
            if keep.words.most is not None and words > keep.words.most:
                return "too-long"
        if not keep.refusals and is_refusal(text):
            return "refusal"
        if not keep.prompt and _gives_prompt_back(text, made.prompt, context):
            return "copied-prompt"
        if keep.without is not None:
            lower = text.lower()
            if any(lower.startswith(each.lower()) for each in keep.without.begins):
                return "begins-wrongly"
            if any(each.lower() in lower for each in keep.without.holds):
                return "holds-a-marker"
        known = {**context, **made.columns, "made": text}
        for reason, expression in keep.only.items():
            if not Expression(expression).value(known):
                return reason
        return self._against_input(made, text, context)

    def _against_input(self, made: SyntheticRow, text: str, context: Mapping[str, object]) -> str | None:
        keep = self._keep
        if keep.one_of is not None:
            values = Expression(keep.one_of.values).value(context)
            if not isinstance(values, list | tuple):
                raise CannotRender(f"one_of: {keep.one_of.values} is no list")
            if made.columns.get(keep.one_of.column) not in [str(each) for each in values]:
                return "unknown-label"
        if keep.quoted is not None:
            quote = made.columns.get(keep.quoted.column, "")
            if find_quote(quote, _text(context, keep.quoted.document)) is None:
                return "not-grounded"
        if keep.overlap is not None:
            overlap = rouge_l_f1(text, _text(context, keep.overlap.to))
            if overlap > keep.overlap.most:
                return "too-near"
            if overlap < keep.overlap.least:
                return "too-far"
        return None


def _gives_prompt_back(text: str, prompt: str, context: Mapping[str, object]) -> bool:
    """Whether a text takes half of its words from the prompt, those aside that the row itself has."""
    if not copies_prompt(text, prompt):
        return False
    answers = context["of"]
    assert isinstance(answers, Mapping)
    own = "\n\n".join(value for name, value in context.items() if isinstance(value, str) and name not in answers)
    found = _COPIED(VerifyBatch.of([{"text": text, "prompt": each} for each in (prompt, own)]))
    share, of_row = found[""].to_pylist()
    # What the row has, a text may repeat: a corrected row does, and so does a passage with questions behind it.
    return bool(found["marker"][0].as_py()) or (of_row < 1 and share - of_row >= _SHARE * (1 - of_row))


def _text(context: Mapping[str, object], column: str) -> str:
    value = context.get(column)
    if not isinstance(value, str):
        raise CannotRender(f"the row has no text {column!r}")
    return value
