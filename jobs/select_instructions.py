r"""Select instruction data on a Ray cluster.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
        python jobs/select_instructions.py configs/select-mods.yaml --root /data/runs

Inputs, models and the root must be places that every node sees: a shared volume. Features are mapped from files, so
that a run with `features` steps cannot have an object store for its root. The command of a laptop, `curate run
CONFIG`, gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys

from curate.core import bits
from curate.core.engine import Resources
from curate.core.engine.ray import RayEngine
from curate.core.errors import CurateError
from curate.core.progress import Progress
from curate.pipeline import Pipeline
from curate.report.summary import summary_lines


def main() -> int:
    """Parse the command line, run, print what every step took and the funnel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the pipeline, a YAML file")
    parser.add_argument("--root", required=True, help="where runs are kept: a folder that all nodes share")
    parser.add_argument("--workers", type=int, help="actors; all cores of the cluster by default")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each actor, for features and scores of models")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the config")
    parser.add_argument("--bits", choices=["machine", "portable"], help="of neural models, as for `curate run`")
    args = parser.parse_args()
    bits.restart_if_needed(args.bits)
    resources = Resources(workers=args.workers, gpus=args.gpus, bits=args.bits)
    try:
        pipeline = Pipeline.load(args.config, args.set)
        engine = RayEngine("auto")
        with Progress("plain") as progress:
            outputs = pipeline.run(args.root, engine, resources, progress)
    except CurateError as error:
        print(f"select_instructions: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(summary_lines(outputs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
