"""Samplers by name. Each proposes architectures through the same Optuna study."""

from kdnas.study.samplers.lstm import LSTMControllerSampler
from kdnas.study.samplers.names import RUNG, RUNG_VALUES
from kdnas.study.samplers.predecessor import PredecessorControllerSampler
from kdnas.study.samplers.table import SAMPLERS, make_sampler

__all__ = [
    "RUNG",
    "RUNG_VALUES",
    "SAMPLERS",
    "LSTMControllerSampler",
    "PredecessorControllerSampler",
    "make_sampler",
]
