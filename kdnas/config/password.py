"""A database's password: kept in one file of the run folder, hidden from all that people read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlsplit

from kdnas.errors import KdnasError
from kdnas.files.atomic import write_text

FILE = ".storage"
VARIABLE = "KDNAS_STORAGE_PASSWORD"
HIDDEN = "***"

_USER = re.compile(r"(://[^/@:]*):(.*)@")
_KEYS = ("password", "passwd", "sslpassword")
_QUERY = re.compile(rf"([?&](?:{'|'.join(_KEYS)})=)([^&#]*)")

# Of the storages that this process has used, in every spelling.
_known: set[str] = set()


def shown(url: str) -> str:
    """A storage's URL as people may see it."""
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1:{HIDDEN}@", url))


def bare(url: str) -> str:
    """A storage's URL without its password."""
    parameters = rf"(?<=[?&])(?:{'|'.join(_KEYS)})=[^&#]*&?"
    return re.sub(parameters, "", _USER.sub(r"\1@", url)).rstrip("?&")


def put_away(url: str | None, folder: Path) -> None:
    """Keeps a run's storage, where it has a password, in a file that its owner alone can read."""
    if url and bare(url) != url:
        write_text(folder / FILE, url + "\n", private=True)


def with_password(url: str, folder: Path) -> str:
    """A run's storage with the password of the environment, else with the one that was put away.

    Args:
        url: As in the run's settings.
        folder: The run's.
    """
    given = from_environment(url)
    try:
        kept = (folder / FILE).read_text(encoding="utf-8").strip()
    except OSError:  # none, or another user's
        kept = ""
    return kept if kept and bare(kept) == given else given


def from_environment(url: str) -> str:
    """A database's URL with the password of KDNAS_STORAGE_PASSWORD, where it has a user alone."""
    given = os.environ.get(VARIABLE)
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not (given and separator and at) or bare(url) != url:
        return url
    return f"{scheme}://{user}:{quote(given, safe='')}@{place}"


def check(url: str) -> None:
    """Refuses a password that databases' drivers would read as something else.

    Raises:
        KdnasError: It has an @, which would end it.
    """
    if url.partition("?")[0].count("@") > 1:
        raise KdnasError(
            f"the password in --storage {shown(url)} has an @; write it as %40, or leave it out "
            f"and set {VARIABLE}"
        )


def remember(url: str) -> None:
    """Has `hidden` know a URL's password."""
    found = [match[2] for match in (*_USER.finditer(url), *_QUERY.finditer(url))]
    found += [value for key, value in parse_qsl(urlsplit(url).query) if key in _KEYS]
    _known.update(form(each) for each in found for form in (str, unquote, unquote_plus))
    _known.discard("")


def hidden(text: str) -> str:
    """A text without the passwords of the storages that this process has used."""
    for password in sorted(_known, key=len, reverse=True):
        text = text.replace(password, HIDDEN)
    return text
