"""kdnas space: the students to choose from."""

from __future__ import annotations

import json
from typing import Any

from kdnas.commands.shared import ConfigFile, JsonOut
from kdnas.config import load_settings
from kdnas.config.options import with_settings
from kdnas.console import say


@with_settings("teacher")
def space(
    flags: dict[str, Any],
    *,
    config: ConfigFile = None,
    json_out: JsonOut = False,
) -> None:
    """Show the students that a search of a teacher would choose from."""
    from kdnas.space.show import describe, lines

    described = describe(load_settings(config, flags))
    for line in [json.dumps(described, indent=2)] if json_out else lines(described):
        say(line)
