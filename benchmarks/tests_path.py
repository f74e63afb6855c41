"""Puts tests/ on the path; benchmarks share its `support` package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
