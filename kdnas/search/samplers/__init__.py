"""Samplers by name. Each proposes architectures through the same Optuna study."""

from kdnas.search.samplers.lstm import LSTMControllerSampler
from kdnas.search.samplers.names import RUNG, RUNG_VALUES
from kdnas.search.samplers.predecessor import PredecessorControllerSampler
from kdnas.search.samplers.table import SAMPLERS, make_sampler

__all__ = [
    "RUNG",
    "RUNG_VALUES",
    "SAMPLERS",
    "LSTMControllerSampler",
    "PredecessorControllerSampler",
    "make_sampler",
]
