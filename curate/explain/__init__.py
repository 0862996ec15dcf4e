"""One row: where it came from, and why it is in or out."""
