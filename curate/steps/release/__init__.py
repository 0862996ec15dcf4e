"""Releases: the one place where documents, scores and verdicts become the files that others download.

from curate.steps.release.verify import verify

verify("runs/demo/out-1f0c22aa/release")      # [] when every file and row is as MANIFEST.json says
"""
