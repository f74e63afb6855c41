"""Text as people may see it: bounded, with control characters escaped, without passwords."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from reprlib import Repr
from urllib.parse import quote, quote_plus, unquote, unquote_plus

# Characters of a value in a message, and of a whole message.
MOST_OF_A_VALUE = 100
MOST_OF_A_MESSAGE = 2000
# Characters of a word in a message; paths of usual length are whole, so that they can be copied.
MOST_OF_A_WORD = 240
# Where the password of a storage may come from instead of its URL.
PASSWORD_VARIABLE = "KDNAS_STORAGE_PASSWORD"
HIDDEN = "***"
# A shorter password is hidden only inside URLs, or it would be hidden in words, too.
SHORTEST_SECRET = 4

# Control characters, line and paragraph separators, switches of direction, lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SPACE = re.compile(r"(\s+)")
_KEYS = re.compile(r"(?<![a-z])((?:ssl)?passw(?:or)?d=)[^&\s'\"]*", re.IGNORECASE)
# What a stream that is not Unicode gets for the few other characters that our lines have.
_PLAIN = {"±": "+-", "\N{MULTIPLICATION SIGN}": "x", "\N{EN DASH}": "-", "→": "->"}

_secrets: set[str] = set()


def shown(value: object) -> str:
    """A value for a message: short, in one line, as YAML or a flag would spell it.

    This is the only way in which messages show what somebody gave, however large that is.
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false"}.get(value, "null")  # type: ignore[arg-type]
    if isinstance(value, str | Path):
        return printable(cut(redact(str(value)), MOST_OF_A_VALUE))
    try:
        return printable(cut(redact(_REPR.repr(value)), MOST_OF_A_VALUE))
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number of thousands of digits"


def quoted(value: object) -> str:
    """Like `shown`, in quotes, which also show where a text begins and ends."""
    return f"'{shown(value)}'"


def cut(text: str, most: int) -> str:
    """A text, or its beginning where it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def printable(text: str) -> str:
    """A text whose control characters are escaped, so that no terminal obeys them."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """A message as it is printed: one bounded line without control characters and passwords."""
    lines = " ".join(map(_shortened, redact(text).split()))
    return printable(cut(lines, MOST_OF_A_MESSAGE))


def _shortened(word: str) -> str:
    """A word without its middle where it is long, such as a path of thousands of characters."""
    half = MOST_OF_A_WORD // 2 - 2
    return word if len(word) <= MOST_OF_A_WORD else f"{word[:half]}...{word[-half:]}"


def remember_secrets(url: str) -> None:
    """Lets `redact` know the password in what may be the URL of a storage, well-formed or not."""
    found = [match[0].partition("=")[2] for match in _KEYS.finditer(url)]
    for part in (url, url.partition("?")[0]):
        found.append(_split(part)[2])
    for each in filter(None, found):
        for word in (each, unquote(each), unquote_plus(each)):
            _secrets.update({word, quote(word, ""), quote_plus(word)})


def redact(text: str) -> str:
    """A text without passwords: those that were remembered, and any in what looks like a URL."""
    known = {word for word in _secrets if len(word) >= SHORTEST_SECRET}
    if given := os.environ.get(PASSWORD_VARIABLE):
        known |= {given, quote(given, "")}
    for word in sorted(known, key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    if "@" in text:
        text = "".join(map(mask_url, _SPACE.split(text)))
    return _KEYS.sub(rf"\g<1>{HIDDEN}", text)


def mask_url(url: str) -> str:
    """What may be a URL, with its password hidden, wherever that stands."""
    begin, colon, password, place = _split(url)
    return f"{begin}{colon}{HIDDEN}@{place}" if password else url


def _split(url: str) -> tuple[str, str, str, str]:
    """Scheme and user, a colon, the password, and what follows the last @; of what has none, ""."""
    before, _, place = url.rpartition("@")
    start = before.find("://") + 3 if "://" in before else 0
    user, colon, password = before[start:].partition(":")
    return before[:start] + user, colon, password, place


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    """Replaces what a stream's encoding lacks: `+-` for ±, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    escaped = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(escaped), error.end


codecs.register_error("kdnas", _spelled_out)  # type: ignore[arg-type]

_REPR = Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxtuple = 3, 6, 6, 6
_REPR.maxstring = _REPR.maxother = MOST_OF_A_VALUE
