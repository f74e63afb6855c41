"""The options of a run, one module a panel of --help."""

from kdnas.config.options.base import Options
from kdnas.config.options.data import DataOptions
from kdnas.config.options.full_kd import FullKDOptions
from kdnas.config.options.machine import MachineOptions
from kdnas.config.options.mini_kd import MiniKDOptions
from kdnas.config.options.pruning import PruningOptions
from kdnas.config.options.run import RunOptions
from kdnas.config.options.search import SearchOptions
from kdnas.config.options.teacher import TeacherOptions

# In the order of --help.
PANELS = (
    RunOptions,
    DataOptions,
    TeacherOptions,
    SearchOptions,
    PruningOptions,
    MiniKDOptions,
    FullKDOptions,
    MachineOptions,
)

__all__ = [
    "PANELS",
    "DataOptions",
    "FullKDOptions",
    "MachineOptions",
    "MiniKDOptions",
    "Options",
    "PruningOptions",
    "RunOptions",
    "SearchOptions",
    "TeacherOptions",
]
