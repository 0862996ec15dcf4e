"""The command line of a pipeline that runs on the Ray cluster of the process: what the files in jobs/ enter.

sys.exit(main(__doc__))
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from curate.core import bits
from curate.core.engine import Resources
from curate.core.errors import CurateError
from curate.core.progress import Progress
from curate.pipeline import Pipeline
from curate.report.summary import summary_lines


def main(description: str | None) -> int:
    """Parse the command line, run the pipeline, print its summary; the exit code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the pipeline, a YAML file")
    parser.add_argument("--root", required=True, help="where runs are kept: a folder that all nodes share, or a URL")
    parser.add_argument("--workers", type=int, help="actors; all cores of the cluster by default")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each actor, for features and scores of models")
    parser.add_argument("--replay", action="store_true", help="ask no model: recorded answers alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the config")
    parser.add_argument("--bits", choices=["machine", "portable"], help="of neural models, as for `curate run`")
    args = parser.parse_args()
    bits.restart_if_needed(args.bits)
    resources = Resources(workers=args.workers, gpus=args.gpus, bits=args.bits)
    try:
        pipeline = Pipeline.load(args.config, args.set)
        engine = importlib.import_module("curate.core.engine.ray").RayEngine("auto")
        with Progress("plain") as progress:
            outputs = pipeline.run(args.root, engine, resources, progress, replay=args.replay)
    except CurateError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(summary_lines(outputs)))
    return 0
