"""Tasks: what they are, where their data come from, how they are scored."""

from kdnas.tasks.encode import EncodedExamples, encode
from kdnas.tasks.examples import Examples
from kdnas.tasks.formats.corpus import load_corpus
from kdnas.tasks.formats.embedded import embedded_snippets, embedded_teacher
from kdnas.tasks.holdout import hold_out
from kdnas.tasks.load import TaskData, load_data
from kdnas.tasks.metrics import compute_metrics
from kdnas.tasks.registry import DEFAULT_TASK, benchmark_names, load_spec, task_names
from kdnas.tasks.spec import TaskSpec

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
