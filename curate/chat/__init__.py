"""Conversations: their turns as Arrow holds them, and as a model's tokens with the supervised ones marked.

What scoring, training and selection of conversations share. The other half of a row is the ground of every
stage: `id`, `source` and the input's own columns.
"""
