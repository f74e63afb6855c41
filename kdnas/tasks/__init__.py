"""Tasks: what they are, where their data come from, how they are scored."""

from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples
from kdnas.tasks.formats.corpus import load_corpus, read_corpus
from kdnas.tasks.formats.embedded import embedded_snippets, embedded_teacher
from kdnas.tasks.load import TaskData, load_data
from kdnas.tasks.metrics import compute_metrics
from kdnas.tasks.registry import DEFAULT_TASK, benchmark_names, load_spec, load_specs
from kdnas.tasks.sampling import hold_out
from kdnas.tasks.spec import TaskSpec
from kdnas.tasks.types import TASK_TYPES, TaskType, encode, task_type_of

__all__ = [
    "DEFAULT_TASK",
    "TASK_TYPES",
    "EncodedExamples",
    "Examples",
    "TaskData",
    "TaskSpec",
    "TaskType",
    "benchmark_names",
    "compute_metrics",
    "embedded_snippets",
    "embedded_teacher",
    "encode",
    "hold_out",
    "load_corpus",
    "load_data",
    "load_spec",
    "load_specs",
    "read_corpus",
    "task_type_of",
]
