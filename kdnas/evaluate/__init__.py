"""Scores of a checkpoint: as it is, or fine-tuned on each task first."""

from kdnas.evaluate.run import evaluate, evaluate_checkpoint
from kdnas.evaluate.tuning import Tuning

__all__ = ["Tuning", "evaluate", "evaluate_checkpoint"]
