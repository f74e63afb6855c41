"""Reading a whole UTF-8 file, packed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from kdnas.errors import KdnasError


def read_text(path: Path) -> str:
    """A file's text, without a byte-order mark; a .gz file is unpacked.

    Raises:
        KdnasError: The file cannot be read, is empty, or is not UTF-8.
    """
    raw = _read_bytes(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise KdnasError(
            f"{path} is not UTF-8: byte 0x{raw[error.start]:02x} in line {line}; convert it, "
            "e.g. iconv -f latin1 -t utf-8"
        ) from None
    if not text.strip():
        raise KdnasError(f"{path} is empty; it should hold text")
    return text


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise KdnasError(f"cannot read {path}: {error}") from None
