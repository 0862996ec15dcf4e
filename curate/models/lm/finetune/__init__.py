"""Fine-tuning of a causal language model on conversations."""
