"""The folder that keeps an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdnas.errors import KdnasError
from kdnas.files.atomic import make_writable, read_json, write_json
from kdnas.files.locks import file_lock

RESULTS = "evaluation.json"


@contextmanager
def claimed(folder: Path, model: str) -> Iterator[None]:
    """Holds a folder for the evaluation of one model by one process.

    Raises:
        KdnasError: It holds something else, cannot be written, or another process holds it.
    """
    make_writable(folder)
    what = f"another process evaluates into {folder}"
    with file_lock(folder / ".lock", what, 0, refusal=f"{what}; choose another --out"):
        _check(folder, model)
        yield


def keep(folder: Path, result: dict[str, Any]) -> None:
    """Writes what has been found so far."""
    write_json(folder / RESULTS, {**result, "model": _identity(result["model"])})


def _check(folder: Path, model: str) -> None:
    others = [
        path.name for path in folder.iterdir() if not path.name.startswith((".lock", ".writable"))
    ]
    stored = read_json(folder / RESULTS)
    if others and not isinstance(stored, dict):
        raise KdnasError(f"{folder} is not empty and holds no evaluation; choose another --out")
    if stored and stored["model"] != _identity(model):
        raise KdnasError(
            f"{folder} holds the evaluation of {stored['model']!r}; choose another --out"
        )
    if not stored:
        keep(folder, {"model": model, "tasks": {}})


def _identity(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).exists() else model
