"""Which rows a small model can answer, and which are worth the price of the large one."""
