"""Tasks: what they are, where their data come from, how they are scored."""

from kdnas.tasks.corpus import load_corpus
from kdnas.tasks.data import TaskData, load_data
from kdnas.tasks.embedded import embedded_snippets, embedded_teacher
from kdnas.tasks.encode import EncodedExamples, encode
from kdnas.tasks.examples import Examples
from kdnas.tasks.holdout import hold_out
from kdnas.tasks.metrics import compute_metrics
from kdnas.tasks.registry import DEFAULT_TASK, benchmark_names, load_spec, task_names
from kdnas.tasks.task import TaskSpec

__all__ = [
    "DEFAULT_TASK",
    "EncodedExamples",
    "Examples",
    "TaskData",
    "TaskSpec",
    "benchmark_names",
    "compute_metrics",
    "embedded_snippets",
    "embedded_teacher",
    "encode",
    "hold_out",
    "load_corpus",
    "load_data",
    "load_spec",
    "task_names",
]
