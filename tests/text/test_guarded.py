"""Kernels read the bytes of their texts and no others: numba looks at no bound."""

from __future__ import annotations

from itertools import accumulate

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.guarded import PATTERNS, Check, batch_of, checks
from tests.text.test_native import ends_with, start

BYTES = st.lists(st.sampled_from(PATTERNS) | st.binary(max_size=9), max_size=9).map(b"".join)


@pytest.mark.slow
def test_no_kernel_reads_past_the_memory_of_a_text_or_depends_on_what_is_around_it() -> None:
    lengths = [*range(24), *range(62, 67), 127, 128, 129, 4097]
    script = f"from tests.text.guarded import main; main({lengths})"
    assert int(ends_with(start(script))) > 1000


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Check]:
    """The checks whose values are one a text, or one a word or line."""
    return {k: v for k, v in checks(str(tmp_path_factory.mktemp("models"))).items() if k != "hashed"}


def plain(values: pa.Array) -> list[object]:
    text = pa.types.is_large_string(values.type)  # of bytes that are not UTF-8, if those of the batch are not
    return (values.cast(pa.large_binary()) if text else values).to_pylist()


@settings(max_examples=40)
@given(texts=st.lists(BYTES, min_size=1, max_size=4))
def test_what_any_bytes_score_does_not_depend_on_their_batch(every: dict[str, Check], texts: list[bytes]) -> None:
    whole = batch_of(pa.py_buffer(b"".join(texts)), [*accumulate(map(len, texts), initial=0)])
    alone = [batch_of(pa.py_buffer(text), [0, len(text)]) for text in texts]
    for name, check in every.items():
        parts = [check(each) for each in alone]
        for key, values in check(whole).items():
            if key != "offsets":
                assert plain(values) == [value for part in parts for value in plain(part[key])], (name, key)
