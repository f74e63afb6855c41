"""kdnas finds, trains and ships the best small student of a transformer language model.

The Python API; the commands call the same functions:

- `search`, `resume`, `distill`: run folders with students.
- `predict`, `evaluate`, `export`: students at work.
- `load_run`: a run folder, read.
- `Candidate`, `TaskType`: what a study chooses between, and the kinds of task.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdnas.errors import KdnasError
    from kdnas.evaluation.evaluate import evaluate
    from kdnas.evaluation.predict import predict
    from kdnas.exporting.export import export
    from kdnas.space.candidate import Candidate
    from kdnas.tasks.types.base import TaskType
    from kdnas.workflow.api import Distilled, LoadedRun, distill, load_run, resume, search

__version__ = "0.1.0"
__all__ = [
    "Candidate",
    "Distilled",
    "KdnasError",
    "LoadedRun",
    "TaskType",
    "distill",
    "evaluate",
    "export",
    "load_run",
    "predict",
    "resume",
    "search",
]

# Where each name lives: imported when it is first used, so that `import kdnas` takes no seconds.
_HOMES = {
    "Candidate": "kdnas.space.candidate",
    "KdnasError": "kdnas.errors",
    "TaskType": "kdnas.tasks.types.base",
    "evaluate": "kdnas.evaluation.evaluate",
    "export": "kdnas.exporting.export",
    "predict": "kdnas.evaluation.predict",
    **dict.fromkeys(
        ("Distilled", "LoadedRun", "distill", "load_run", "resume", "search"), "kdnas.workflow.api"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in ("Candidate", "KdnasError"):
        from kdnas.runtime.plugins import load_plugins

        load_plugins()
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
