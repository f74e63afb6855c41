"""Packages that add task types, losses or scorers, by an entry point in `kdnas.plugins`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from kdnas.errors import KdnasError

GROUP = "kdnas.plugins"


@cache
def load_plugins() -> None:
    """Imports every installed plug-in once; importing it fills kdnas's tables.

    Raises:
        KdnasError: A plug-in cannot be imported.
    """
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # whatever the code of another package raises
            raise KdnasError(
                f"cannot load the plug-in {point.name!r} ({point.value}): "
                f"{type(error).__name__}: {error}; fix or uninstall it"
            ) from None
