"""Checkpoints on tasks: official scores, as they are or fine-tuned first, and predictions."""
