"""kdnas space: the students to choose from."""

from __future__ import annotations

from typing import Any

from kdnas.commands.shared import ConfigFile
from kdnas.config import load_settings
from kdnas.config.options import with_settings
from kdnas.console import conclude


@with_settings("teacher")
def space(
    flags: dict[str, Any],
    *,
    config: ConfigFile = None,
) -> None:
    """Show the students that a search of a teacher would choose from."""
    from kdnas.space.show import describe, lines

    described = describe(load_settings(config, flags))
    conclude(described, lines(described))
