"""Verifiers: plain functions from a batch of made rows to columns; calibration sets the thresholds."""
