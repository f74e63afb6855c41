"""Scores of a checkpoint: as it is, or fine-tuned on each task first."""

from kdnas.evaluation.grid import Tuning
from kdnas.evaluation.run import evaluate, evaluate_checkpoint

__all__ = ["Tuning", "evaluate", "evaluate_checkpoint"]
