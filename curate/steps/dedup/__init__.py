"""Deduplication: side columns that say which row each copy is a copy of; nothing is removed here.

dups: {dedup: {from: docs, exact: {}}}
"""
