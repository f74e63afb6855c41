"""kdnas space: the students to choose from."""

from __future__ import annotations

from typing import Any

from kdnas.cli.options import with_settings
from kdnas.cli.shared import ConfigFile
from kdnas.config import load_settings
from kdnas.runtime.console import conclude


@with_settings("teacher")
def space(
    flags: dict[str, Any],
    *,
    config: ConfigFile = None,
) -> None:
    """Show the students that a search of a teacher would choose from."""
    from kdnas.workflow.describe_space import describe, lines

    described = describe(load_settings(config, flags))
    conclude(described, lines(described))
