"""Text as files hold it: in UTF-8, in UTF-16, or in the encoding that a task names."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.runtime.console import say

UTF8 = "utf-8"
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAVE_AS = "save the table as CSV UTF-8"
# What the first bytes say of a file that is no text.
_OTHERS = {
    b"\x1f\x8b": "is packed with gzip; unpack it",
    b"PK\x03\x04": f"is a zip archive or an Excel file; {_SAVE_AS}",
    b"\xd0\xcf\x11\xe0": f"is a file of Excel or Word; {_SAVE_AS}",
    b"PAR1": "is a Parquet file; give it the ending .parquet",
}
# Bytes that are looked at for a mark, or for what is like UTF-16 without one.
_HEAD = 1 << 16
_FIRST, _LEAST = 64, 8
# In UTF-16 of alphabets most characters are below U+2000, and some of them ASCII.
_ALPHABETS, _ASCII = 0.6, 0.02
# High bytes of Latin, Greek, Cyrillic, Hebrew and Arabic letters, which nobody types as such.
_OF_ALPHABETS = bytes(range(7))
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b]")
_MANY_NULS = 0.1


@dataclass(frozen=True)
class Text:
    """A file's text without a byte-order mark, and the encoding that it was in."""

    content: str
    encoding: str

    @property
    def assumed(self) -> tuple[str, ...]:
        """What a person should know of how it was read."""
        return _assumed(self.encoding)


def read_text(path: Path, named: str | None = None) -> Text:
    """A file's text, unpacked.

    Args:
        path: UTF-8; UTF-16 or UTF-32 with a mark; or UTF-16 of an alphabet without one.
        named: The encoding of files that are none of these.

    Raises:
        KdnasError: The file cannot be read, is in another encoding or no text, or is empty.
    """
    with unpacked(path) as stream:
        raw = stream.read()
    _refuse_other(raw, str(path))
    marked = find_encoding(raw[:_HEAD])
    if not (marked or named) and raw.count(b"\0") > _MANY_NULS * len(raw):
        raise KdnasError(
            f"{path} holds NUL bytes: it is UTF-16 without a mark, or no text; convert it, e.g. "
            "iconv -f utf-16le -t utf-8"
        )
    try:
        content, encoding = _decoded(raw, marked, named)
    except UnicodeDecodeError as error:
        raise _undecodable(str(path), raw, error, marked or named) from None
    if "\0" in content:
        line = content.count("\n", 0, content.index("\0")) + 1
        raise KdnasError(f"{path} holds a NUL byte in line {line}; remove it, e.g. tr -d '\\000'")
    if not content.strip():
        raise KdnasError(f"{path} is empty; give a file with text")
    return Text(content, encoding)


def text_lines(lines: Iterable[bytes], source: str, named: str | None = None) -> Iterator[str]:
    """The lines of a stream as they come, without their ends; only a newline ends a line.

    Args:
        lines: The stream's bytes, cut behind each byte of a newline.
        source: Its name in messages.
        named: As `read_text` takes it.

    Raises:
        KdnasError: A line is in another encoding, or the stream holds no text.
    """
    marked, lines = _begun(lines, source)
    if marked and marked != UTF8:
        tell(source, _assumed(marked))
        count = 0
        try:
            for text in _wide_lines(lines, marked):
                count += 1
                yield text
        except UnicodeDecodeError:
            raise KdnasError(
                f"{source} is not {marked.upper()} throughout: it is damaged or cut short in line "
                f"{count + 1}; copy or save it again"
            ) from None
        return
    told = False
    for number, line in enumerate(lines, start=1):
        try:
            text, encoding = _decoded(line, None, named)
        except UnicodeDecodeError as error:
            raise _undecodable(source, line, error, named, number) from None
        if encoding != UTF8 and not told:
            told = True
            tell(source, _assumed(encoding))
        yield _plain_line(text)


def bytes_of_lines(path: Path) -> Iterator[bytes]:
    """What `text_lines` takes of a file, unpacked; KdnasError where it cannot be read."""
    with unpacked(path) as stream:
        yield from stream


def count_lines(path: Path) -> int:
    """Lines of a file, as `text_lines` cuts them; KdnasError where it cannot be read."""
    marked, lines = _begun(bytes_of_lines(path), str(path))
    wide = marked is not None and marked != UTF8
    return sum(1 for _ in (_wide_lines(lines, str(marked), "replace") if wide else lines))


def tell(source: str, assumed: Sequence[str]) -> None:
    """Says in a line how a source was read, where that is not how kdnas reads by default."""
    if assumed:
        say(f"{source}: {'; '.join(assumed)}")


def refuse_sheet(path: Path) -> None:
    """Raises KdnasError for the files of spreadsheets, of which kdnas reads none."""
    if path.suffix.lower() in SHEETS:
        raise KdnasError(
            f"{path} is a spreadsheet; {_SAVE_AS} (in Excel: Save As) and give that file"
        )


def find_encoding(head: bytes) -> str | None:
    """The encoding that a text's first bytes tell, by a mark or as UTF-16 of an alphabet.

    Golden: b'\\xff\\xfea\\0' -> 'utf-16-le'; 'text,label'.encode('utf-16-be') -> 'utf-16-be';
    b'text,label' -> None.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    both = (("utf-16-le", 1), ("utf-16-be", 0))
    return next((name for name, high in both if _is_wide(head, name, high)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[BufferedIOBase]:
    """A file's bytes, unpacked where its name ends in `.gz`."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise KdnasError(f"cannot read {path}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise KdnasError(f"cannot read {path}: {error}") from None


def _is_wide(head: bytes, name: str, high: int) -> bool:
    """Whether bytes are UTF-16 without a mark; `high` is the place of a character's high byte.

    A stray NUL in another text, or many, must not make it UTF-16: that would read as Chinese.
    """
    highs = head[high::2]
    zeros = highs.count(0)
    low = len(highs) - len(highs.translate(None, bytes(range(0x20))))
    if len(head) < _LEAST or not zeros or zeros < _ASCII * len(highs):
        return False
    if low < _ALPHABETS * len(highs):
        return False
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return False
    breaks = head[: len(head) // 2 * 2].count(b"\n")
    return 2 * text.count("\n") >= breaks and not _CONTROLS.search(text)


def _begun(lines: Iterable[bytes], source: str) -> tuple[str | None, Iterator[bytes]]:
    """The encoding that a stream begins with, if it tells, and all of its lines.

    It reads no more than the first line, unless that has what no text in UTF-8 has.
    """
    coming, first, head = iter(lines), list[bytes](), b""
    for line in coming:
        first.append(line)
        head += line
        if len(head) >= _FIRST or len(head) == len(head.translate(None, _OF_ALPHABETS)):
            break
    _refuse_other(head, source)
    return find_encoding(head), chain(first, coming)


def _wide_lines(lines: Iterable[bytes], encoding: str, errors: str = "strict") -> Iterator[str]:
    """Lines of which each byte of a newline is only a half or a quarter of a character."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    rest = ""
    for piece in lines:
        *whole, rest = (rest + decoder.decode(piece)).split("\n")
        yield from (_plain_line(line) for line in whole)
    rest += decoder.decode(b"", final=True)
    if rest:
        yield _plain_line(rest)


def _plain_line(line: str) -> str:
    """Without a byte-order mark before and the end of the line behind."""
    return line.removeprefix("\ufeff").rstrip("\r\n")


def _decoded(raw: bytes, marked: str | None, named: str | None) -> tuple[str, str]:
    """The text and its encoding.

    What is UTF-8 with more than ASCII is nothing else but by a rare chance, whatever was named.
    """
    encoding = marked or UTF8
    # Some encodings (ISO-2022-JP) write all with bytes of ASCII.
    if named and not marked and raw.isascii() and (b"\0" in raw or not _is_of_wide(named)):
        encoding = named
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        if marked or not named:
            raise
        encoding, text = named, raw.decode(named)
    if encoding == named and raw.isascii() and text == raw.decode("ascii"):
        encoding = UTF8
    return text.removeprefix("\ufeff"), encoding


def _is_of_wide(encoding: str) -> bool:
    """Whether every character of an encoding has several bytes."""
    return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def _assumed(encoding: str) -> tuple[str, ...]:
    return () if encoding == UTF8 else (f"read as {encoding.upper()}",)


def _refuse_other(raw: bytes, source: str) -> None:
    for mark, problem in _OTHERS.items():
        if raw.startswith(mark):
            raise KdnasError(f"{source} {problem}")


def _undecodable(
    source: str, raw: bytes, error: UnicodeDecodeError, encoding: str | None, line: int = 0
) -> KdnasError:
    """What is wrong with bytes that are in no encoding that was tried."""
    name = (encoding or UTF8).upper()
    before = raw[: error.start].decode(encoding or UTF8, "replace")
    where = f"byte 0x{raw[error.start]:02x} in line {line or before.count(chr(10)) + 1}"
    if encoding:
        return KdnasError(f"{source} is not {name}: {where}; save it as UTF-8")
    return KdnasError(
        f"{source} is not UTF-8: {where}; save it as UTF-8 (in Excel: CSV UTF-8), or convert it, "
        "e.g. iconv -f cp1252 -t utf-8"
    )
