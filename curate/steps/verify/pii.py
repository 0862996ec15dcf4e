"""The verifier `pii`: how much personal data a text has, by kind.

    pii()(VerifyBatch.of([{"text": "Write to jo@example.org."}]))["emails"]        # [1]

What counts is what `curate.steps.clean.pii` would replace: a model that gives an address gives somebody's.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curate.steps.clean.pii import pii as cleaner
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch


def pii(*, column: str = "text") -> Verifier:
    """How many of each kind a text has, int32: `emails`, `ips`, `phones`, `ibans`, `cards`, and all of them, `""`.

    Null for a null text. The kinds are described in `curate.steps.clean.identifiers`.
    """
    clean = cleaner(email=True, ip=True, phone=True, iban=True, card=True)

    def verify(batch: VerifyBatch) -> Columns:
        texts = batch.batch(column)
        missing = pa.array([not valid for valid in texts.valid.tolist()], pa.bool_())
        counts = {name: pc.if_else(missing, None, values) for name, values in clean(texts)[1].items()}
        total = pa.array([0] * len(batch), pa.int32())
        for values in counts.values():
            total = pc.add(total, values)
        return {"": total, **counts}

    return verify
