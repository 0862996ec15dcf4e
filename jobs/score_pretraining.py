r"""Run a pipeline on a Ray cluster.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
        python jobs/score_pretraining.py configs/pretrain.yaml --root /data/runs

Inputs and the root must be places that every node sees: a shared volume or an object store. The command of a
laptop, `curate run CONFIG`, gives the same bytes.
"""

from __future__ import annotations

import sys

from curate.cli.job import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
