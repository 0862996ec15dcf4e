"""A small model trained on what was synthesised, and what it learned."""
