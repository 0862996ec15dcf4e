"""Kernels read the bytes of their texts and no others: numba looks at no bound."""

from __future__ import annotations

import pytest

from tests.text.test_native import ends_with, start


@pytest.mark.slow
@pytest.mark.parametrize("side", ["begin", "end"])
def test_no_kernel_reads_past_the_memory_of_a_text_or_depends_on_what_is_around_it(side: str) -> None:
    lengths = [*range(24), *range(62, 67), 127, 128, 129, 4097]
    script = f"from tests.text.guarded import main; main({side == 'end'}, {lengths})"
    assert int(ends_with(start(script))) > 1000
