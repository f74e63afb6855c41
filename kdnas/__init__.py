"""kdnas finds, trains and ships the best small student of a transformer language model.

The Python API; the commands call the same functions:

- `search`, `resume`, `distill`: run folders with students.
- `predict`, `evaluate`, `export`: what a student is good for.
- `load_run`: a run folder, read. `Candidate`, `TaskType`: what a study chooses between, and for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdnas.errors import KdnasError
    from kdnas.evaluation.evaluate import evaluate
    from kdnas.evaluation.predict import predict
    from kdnas.exporting.export import export
    from kdnas.space.candidate import Candidate
    from kdnas.workflow.api import LoadedRun, distill, load_run, resume, search

__version__ = "0.1.0"
__all__ = [
    "Candidate",
    "KdnasError",
    "LoadedRun",
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
    "evaluate": "kdnas.evaluation.evaluate",
    "export": "kdnas.exporting.export",
    "predict": "kdnas.evaluation.predict",
    **dict.fromkeys(("LoadedRun", "distill", "load_run", "resume", "search"), "kdnas.workflow.api"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
