"""Rows of several datasets, side by side."""
