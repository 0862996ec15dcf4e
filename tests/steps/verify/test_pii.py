from __future__ import annotations

from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.pii import pii


def test_personal_data_is_counted_by_kind() -> None:
    text = "Write to jo@example.org or ann@example.org, call +49 30 1234567, pay to DE89 3704 0044 0532 0130 00."
    batch = VerifyBatch.of([{"text": text}, {"text": "Nothing."}, {"text": None}])
    assert {name: values.to_pylist() for name, values in pii()(batch).items()} == {
        "": [4, 0, None],
        "emails": [2, 0, None],
        "ips": [0, 0, None],
        "phones": [1, 0, None],
        "ibans": [1, 0, None],
        "cards": [0, 0, None],
    }
