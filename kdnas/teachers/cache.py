"""What a teacher has cost is kept between runs, under a key of all that decides it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from kdnas.tasks.encode import EncodedExamples
from kdnas.teachers.load import Teacher

# Raised whenever what is cached would come out differently from the same inputs.
FORMAT = 2


def cache_folder() -> Path:
    """Where signal stores and fine-tuned teachers lie: KDNAS_CACHE, else ~/.cache/kdnas."""
    return Path(os.environ.get("KDNAS_CACHE") or Path.home() / ".cache" / "kdnas").expanduser()


def teacher_key(teacher: Teacher, data: EncodedExamples, **what: Any) -> str:
    """Names something that was made from a teacher and some data.

    Args:
        teacher: Its weights and config count.
        data: Its content counts.
        what: Plain values: how it was made.
    """
    digest = hashlib.sha256(str(FORMAT).encode())
    _add_weights(digest, teacher)
    config = teacher.model.config.to_dict()
    config.pop("_name_or_path", None)
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(data.fingerprint().encode())
    digest.update(json.dumps(what, sort_keys=True).encode())
    return digest.hexdigest()[:24]


def fingerprint(teacher: Teacher, *data: EncodedExamples) -> str:
    """Tells a teacher and some data from others by their content alone, on any machine."""
    digest = hashlib.sha256()
    _add_weights(digest, teacher)
    for part in data:
        digest.update(part.fingerprint().encode())
    return digest.hexdigest()[:24]


def _add_weights(digest: Any, teacher: Teacher) -> None:
    for name, value in sorted(teacher.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
