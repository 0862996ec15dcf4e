"""Answers to prompts by a small model on this machine."""
