"""The report of a run: one HTML file that needs nothing else.

from curate.report.build import build_report

html = build_report("pretrain", outputs)
"""
