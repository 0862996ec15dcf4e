"""Generate: the one seam to a language model. Prompts in, completions out, every request recorded before its answer.

The ledger keeps what was asked and answered, the budget reserves money before it is spent, the governor says how
much may be in flight, and the client sends.
"""
