"""Files of JSON lines: written line by line, read without what a crash or a hand damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from kdnas.runtime.console import say


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The mappings in a file, one a line; none where the file is missing.

    Lines that are no JSON mapping are left out, and a person is told so once.
    """
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        _tell(path, f"cannot be read ({error.strerror}); going on without it")
        return
    damaged = 0
    for line in content.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError, too
            found = None
        if isinstance(found, dict):
            yield found
        elif line.strip():
            damaged += 1
    if damaged:
        _tell(path, f"has {damaged} damaged line{'s' * (damaged > 1)}, left out")


def is_finite(value: Any) -> bool:
    """Whether a value that was read is a number, and neither NaN nor infinite."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


@lru_cache
def _tell(path: Path, what: str) -> None:
    say(f"{path} {what}")
