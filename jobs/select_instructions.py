r"""Select instruction data on a Ray cluster.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
        python jobs/select_instructions.py configs/select-mods.yaml --root /data/runs

Inputs, models and the root must be places that every node sees: a shared volume. Features are mapped from files, so
that a run with `features` steps cannot have an object store for its root. The command of a laptop, `curate run
CONFIG`, gives the same bytes.
"""

from __future__ import annotations

import sys

from curate.cli.job import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
