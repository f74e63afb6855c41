"""What a machine is, as a report names it."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import psutil

CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """`processor`, its model where the system tells, and `memory_gb`."""
    return {
        "processor": _model() or platform.processor() or platform.machine(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def _model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(errors="replace"), re.M)
    except OSError:
        return ""
    return " ".join(found[1].split()) if found else ""
