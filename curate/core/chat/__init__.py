"""Conversations: turns, and the forms in which people have them."""
