"""Samplers by name. Each proposes architectures through the same Optuna study."""

from kdnas.search.samplers.lstm import LSTMControllerSampler
from kdnas.search.samplers.table import SAMPLERS, make_sampler

__all__ = ["SAMPLERS", "LSTMControllerSampler", "make_sampler"]
