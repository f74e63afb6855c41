"""Samplers by name. Each proposes candidates through the same Optuna study."""

from kdnas.study.samplers.lstm import LSTMControllerSampler
from kdnas.study.samplers.table import SAMPLERS, make_sampler

__all__ = ["SAMPLERS", "LSTMControllerSampler", "make_sampler"]
