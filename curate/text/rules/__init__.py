"""The published rules: what they measure of a text, and their thresholds."""
