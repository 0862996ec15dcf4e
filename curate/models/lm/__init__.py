"""Small causal language models: training, fine-tuning, losses, gradients, decoding."""
