"""A storage's URL that means the same from any folder."""

from __future__ import annotations

from pathlib import Path

from kdnas.errors import KdnasError

SQLITE = "sqlite"


def absolute(url: str) -> str:
    """A storage's URL, the file of a SQLite database from the root on.

    Raises:
        KdnasError: It is a SQLite database in memory, which no step after the first would find.
    """
    scheme, separator, place = url.partition("://")
    if not separator or scheme.partition("+")[0] != SQLITE:
        return url
    name, mark, query = place.removeprefix("/").partition("?")
    if name in ("", ":memory:"):
        raise KdnasError(
            f"--storage is {url}, which is gone with the process; {SQLITE}:///PATH/TO/FILE.db "
            "would be right"
        )
    if name.startswith("file:"):
        return url
    return f"{scheme}:///{Path(name).expanduser().resolve()}{mark}{query}"
