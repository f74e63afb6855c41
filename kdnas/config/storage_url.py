"""URLs of storages: absolute, and with their passwords kept apart from what people read.

A run keeps its storage's password in RUN/.storage, which only its owner can read, or takes it from
KDNAS_STORAGE_PASSWORD.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from kdnas.errors import KdnasError
from kdnas.files.atomic import write_text
from kdnas.runtime.shown import PASSWORD_VARIABLE, mask_url, quoted, redact, remember_secrets

FILE = ".storage"
VARIABLE = PASSWORD_VARIABLE
SQLITE = "sqlite"

# Storages that are no database's URL.
OTHERS = ("journal://", "grpc://")
EXAMPLES = "sqlite:///FILE.db, postgresql://USER@HOST/NAME, journal:///FILE or grpc://HOST:PORT"

_KEYS = {"password", "passwd", "sslpassword"}


def absolute(url: str) -> str:
    """A storage's URL that means the same from any folder.

    Raises:
        KdnasError: It is no URL of a storage, or a SQLite database in memory, which only one
            process sees.
    """
    parsed = _parsed(url)
    if parsed is None and not url.startswith(OTHERS):
        raise KdnasError(f"invalid --storage {hide_password(url)}: expected {EXAMPLES}")
    if parsed is not None and not url.startswith(OTHERS):
        _check_kind(parsed)
    if parsed is None or parsed.get_backend_name() != SQLITE:
        return url
    name = parsed.database or ":memory:"
    if ":memory:" in name or parsed.query.get("mode") == "memory":
        raise KdnasError(
            f"invalid --storage {url}: it ends with the process; give {SQLITE}:///PATH/TO/FILE.db"
        )
    return url if name.startswith("file:") else sqlite_url(Path(name), parsed)


def _check_kind(url: URL) -> None:
    """Raises KdnasError where SQLAlchemy knows no such databases."""
    name = url.get_backend_name()
    if name == "postgres":  # an old name, which storages are opened by, too
        return
    try:
        url.get_dialect()
    except NoSuchModuleError:
        raise KdnasError(
            f"invalid --storage {hide_password(str(url))}: there is no storage {name}://; expected "
            f"{EXAMPLES}"
        ) from None


def sqlite_url(file: Path, like: URL | None = None) -> str:
    """The URL of a SQLite database, whatever characters its path has.

    Raises:
        KdnasError: The path has bytes that are no characters.
    """
    url = like or URL.create(SQLITE)
    path = str(file.expanduser().resolve())
    try:
        return url.set(database=path).render_as_string(hide_password=False)
    except UnicodeEncodeError:
        raise KdnasError(
            f"a study cannot lie in {quoted(path)}: its name is not UTF-8; rename it"
        ) from None


def hide_password(url: str) -> str:
    """A storage's URL as people may see it."""
    if _has_bare_at(url):
        scheme, _, rest = url.partition("://")
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return redact(_without_passwords(url, hide=True))


def remove_password(url: str) -> str:
    """A storage's URL without its password."""
    return _without_passwords(url, hide=False)


def keep_password(url: str | None, folder: Path) -> None:
    """Writes a run's storage, where it has a password, to a file that only its owner can read."""
    if url and remove_password(url) != url:
        write_text(folder / FILE, url + "\n", private=True)


def with_password(url: str, folder: Path) -> str:
    """A run's storage with the password of the environment, else with the one in the run folder."""
    given = with_password_of_environment(url)
    try:
        kept = (folder / FILE).read_text(encoding="utf-8").strip()
    except OSError:  # none, or another user's
        kept = ""
    return kept if kept and remove_password(kept) == given else given


def with_password_of_environment(url: str) -> str:
    """A database's URL with KDNAS_STORAGE_PASSWORD, where it has a user and no password."""
    given, parsed = os.environ.get(VARIABLE), _parsed(url)
    if not (given and parsed and parsed.username) or remove_password(url) != url:
        return url
    return parsed.set(password=given).render_as_string(hide_password=False)


def remember(url: str) -> None:
    """Lets messages hide a URL's password.

    Raises:
        KdnasError: The password has an @.
    """
    remember_secrets(url)
    _parsed(url)


def _parsed(url: str) -> URL | None:
    """A URL's parts; None where it is no database's.

    Raises:
        KdnasError: The password has an @, so that drivers would read another host.
    """
    if _has_bare_at(url):
        raise KdnasError(
            f"invalid --storage {hide_password(url)}: its password has an @; write it as %40, or "
            f"leave it out and set {VARIABLE}"
        )
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _has_bare_at(url: str) -> bool:
    return url.partition("?")[0].count("@") > 1


def _without_passwords(url: str, *, hide: bool) -> str:
    """Leaves a URL without any password as it was spelled."""
    parsed = _parsed(url)
    if parsed is None:
        return mask_url(url) if hide else url
    if parsed.password is None and not parsed.query.keys() & _KEYS:
        return url
    bare = parsed.difference_update_query(_KEYS)
    bare = bare if hide else bare._replace(password=None)
    return bare.render_as_string(hide_password=hide)
