"""Samplers by name. Each proposes candidates through the same Optuna study."""

from kdnas.study.samplers._controller import LSTMs
from kdnas.study.samplers._processes import GaussianProcesses
from kdnas.study.samplers.surrogate import SurrogateSampler
from kdnas.study.samplers.table import SAMPLERS, make_sampler

__all__ = ["SAMPLERS", "GaussianProcesses", "LSTMs", "SurrogateSampler", "make_sampler"]
