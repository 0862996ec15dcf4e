"""What scoring and training with neural models share: a model's folder, the device, windows over a text.

`torch` and `transformers` are the extra `neural`: they are imported when a model is asked for, not before.
"""
