r"""The scorer `markup`: how much of a text is code, mark-up, URLs, symbols.

    scorer = markup()
    scorer(TextBatch.of(["<p>Fish &amp; chips</p>"]))["tags"]     # [0.304...]

`docs/web.md` defines every share. NeMo Curator's filters of the like (NonAlphaNumeric, Numbers, Urls, WhiteSpace)
and StarCoder's of code (Li et al. 2023) are the model.
"""

from __future__ import annotations

import numpy as np

from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column
from curate.text.rules import markup as counts

_SHARES = {
    "tags": (counts.TAGS, counts.CHARS),
    "entities": (counts.ENTITIES, counts.CHARS),
    "urls": (counts.URLS, counts.CHARS),
    "latex": (counts.LATEX, counts.CHARS),
    "braces": (counts.BRACES, counts.CHARS),
    "non_alnum": (counts.OTHER, counts.CHARS),
    "digits": (counts.DIGITS, counts.CHARS),
    "white_space": (counts.WHITE_SPACE, counts.CHARS),
    "upper": (counts.UPPER, counts.LETTERS),
    "code_lines": (counts.CODE, counts.LINES),
    "markdown_lines": (counts.MARKDOWN, counts.LINES),
}


def markup() -> Scorer:
    r"""Shares, all float64 and 0 where there is nothing to share: in an empty text, `upper` without a letter.

    Columns, shares of the code points of the text: `tags`, within `<...>` where a letter, `/`, `!` or `?` follows
    the `<`; `entities`, such as `&amp;` and `&#8217;`; `urls`, from `http://`, `https://`, `ftp://` or `www.` to
    white space, a double quote or an angle bracket; `latex`, a backslash and two or more ASCII letters; `braces`;
    `non_alnum`, neither letter, mark, number nor white space; `digits`; `white_space`. They may overlap. Of the
    letters: `upper`. Of the lines that are not blank: `code_lines`, which end in a brace, or in `;` and have an
    equals sign or a bracket, or start as code does; `markdown_lines`, headings, quotations, fences, rows of
    tables, and what has a link.
    """

    def score(batch: TextBatch) -> Columns:
        found = counts.markup_counts(batch)
        return {
            name: column(found[:, part] / np.maximum(found[:, whole], 1)) for name, (part, whole) in _SHARES.items()
        }

    return score
