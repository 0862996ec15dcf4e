"""Compare what a quickstart run kept with the truth that the generator wrote beside every document.

python configs/quickstart/check.py runs/quickstart
"""

from __future__ import annotations

import sys
from collections import Counter

from curate.core.errors import CurateError
from curate.pipeline import open_run


def main(run: str) -> None:
    """Print precision and recall, and for each flaw how much of it was dropped."""
    outputs = open_run(run)
    documents, verdicts = outputs["clean"], outputs["kept"]
    total: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for shard in documents.shards:
        keep = {
            i: k for b in verdicts.read(shard, ["id", "keep"]) for i, k in zip(*b.to_pydict().values(), strict=True)
        }
        for batch in documents.read(shard, ["id", "truth", "flaw"]):
            for row in batch.to_pylist():
                name = "good" if row["truth"] == "keep" else row["flaw"]
                total[name] += 1
                kept[name] += keep[row["id"]]
    right, everything = kept["good"], sum(kept.values())
    print(f"\nagainst the truth: precision {right / everything:.3f}, recall {right / total['good']:.3f}")
    print(f"  {right:,} of the {total['good']:,} good documents were kept, and {everything - right:,} others")
    print("\n  flaw                  pages  dropped")
    for name in sorted(total, key=lambda n: (kept[n] / total[n], n)):
        if name != "good":
            print(f"  {name:<20} {total[name]:>6}  {1 - kept[name] / total[name]:>7.0%}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python configs/quickstart/check.py RUN")
    try:
        main(sys.argv[1])
    except CurateError as error:
        sys.exit(f"check: {error}")
