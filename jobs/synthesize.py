r"""Synthesise on a Ray cluster: many workers, one budget.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \\
        --runtime-env-json '{"env_vars": {"OPENAI_API_KEY": "..."}}' -- \\
        python jobs/synthesize.py configs/synthesize-rephrase.yaml --root /data/runs --workers 16

Inputs, models and the root must be places that every node sees; as the ledgers are SQLite files, the root is a file
system that all nodes share, and not an object store. Keys are in the environment of the workers, and in no file. Every
worker sends up to `in_flight` requests at once; what they spend together stays under the caps of the config. The
command of a laptop, `curate run CONFIG`, gives the same bytes.
"""

from __future__ import annotations

import sys

from curate.cli.job import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
