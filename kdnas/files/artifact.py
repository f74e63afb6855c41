"""What a step leaves on disk, and the only notion of "already done".

An artifact is a file or a folder with a key: plain values that decide its content. It counts as
done when its manifest names the same key, and every file has the size and the checksum that the
manifest lists; EDITABLE ones may have another content. Anything else is as if it had never been
made.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from kdnas.files.atomic import read_json, replace_file, replace_folder, restore, write_json

T = TypeVar("T")

MANIFEST = "kdnas.json"
# JSON that people edit in a checkpoint: how a model writes, which is no result of training.
EDITABLE = ("generation_config.json",)
CHUNK = 1 << 24


class DamagedArtifactError(Exception):
    """A file of an artifact is missing, cut short or altered."""


@dataclass(frozen=True)
class Artifact(Generic[T]):
    """A result on disk.

    Attributes:
        path: A folder, or a file; `save` decides which.
        key: Plain values: all that decides the content, and nothing else.
        load: Reads the value from the path.
        save: Writes the value to a temporary path, which then takes the place of `path`.
        is_folder: Whether `save` fills a folder.
        unchecked: Names of files that may change afterwards (a model card).
        size: Bytes that a value takes on disk, where that is known beforehand.
    """

    path: Path
    key: Mapping[str, Any]
    load: Callable[[Path], T]
    save: Callable[[T, Path], object]
    is_folder: bool = True
    unchecked: Collection[str] = ()
    size: Callable[[T], int] | None = field(default=None, compare=False)

    def done(self) -> bool:
        """Whether the artifact is there, of this key and undamaged."""
        return key_of(self.path) == _plain(self.key) and damage(self.path) is None

    def read(self) -> T:
        """The value on disk.

        Raises:
            DamagedArtifactError: It is not there, of another key, or damaged.
        """
        if not self.done():
            raise DamagedArtifactError(f"{self.path} is missing, damaged or of another key")
        return self.load(self.path)

    def write(self, value: T) -> None:
        """Puts a value on disk, whole or not at all; what was there stays until then.

        Raises:
            KdnasError: The disk is full.
        """
        needed = self.size(value) if self.size else None
        if self.is_folder:
            with replace_folder(self.path, needed) as partial:
                self.save(value, partial)
                write_json(partial / MANIFEST, self._described(partial))
            return
        with replace_file(self.path, needed) as partial:
            self.save(value, partial)
            # Before the file takes its place: who finds the file, finds it done.
            write_json(manifest_of(self.path), self._described(partial))

    def get(self, make: Callable[[], T]) -> T:
        """The value: read where it is done, else made now and kept."""
        if self.done():
            return self.load(self.path)
        value = make()
        self.write(value)
        return value

    def _described(self, partial: Path) -> dict[str, Any]:
        files = {self.path.name: partial}
        if self.is_folder:
            found = [f for f in sorted(partial.rglob("*")) if f.is_file()]
            files = {f.relative_to(partial).as_posix(): f for f in found}
        checked = {k: _fingerprint(f) for k, f in files.items() if f.name not in self.unchecked}
        return {"key": _plain(self.key), "files": checked}


def json_artifact(path: Path, key: Mapping[str, Any]) -> Artifact[Any]:
    """An artifact whose value is plain JSON in one file."""
    return Artifact(
        path,
        key,
        load=lambda file: json.loads(file.read_text(encoding="utf-8")),
        save=lambda value, partial: partial.write_text(json.dumps(value, indent=2) + "\n", "utf-8"),
        is_folder=False,
    )


def manifest_of(path: Path) -> Path:
    """Where the manifest of an artifact is: in its folder, or hidden beside its file."""
    return path / MANIFEST if path.is_dir() else path.with_name(f".{path.name}.{MANIFEST}")


def key_of(path: Path) -> dict[str, Any] | None:
    """The key that an artifact was made with; None where there is no manifest."""
    return _listed(path, "key")


def content_of(path: Path) -> dict[str, Any] | None:
    """Size and checksum of each file of an artifact; None where there is no manifest."""
    return _listed(path, "files")


def outdate(path: Path) -> None:
    """Takes from an artifact what it is the result of: it stays, until it is made anew."""
    known: dict[str, Any] = read_json(manifest_of(path)) or {}
    write_json(manifest_of(path), {**known, "key": {"outdated": known.get("key")}})


def damage(path: Path) -> str | None:
    """What is wrong with an artifact's files, in words; None where nothing is.

    A checksum is computed once a process for each state of a file.
    """
    files = _listed(path, "files")
    if files is None:
        return f"{manifest_of(path)} is missing or damaged"
    for name, expected in files.items():
        file = path / name if path.is_dir() else path
        if not file.is_file():
            return f"{file} is missing"
        if _fingerprint(file) != expected and not _is_edited(file):
            return f"{file} is damaged: size or checksum differ from {MANIFEST}"
    return None


def _is_edited(file: Path) -> bool:
    """Whether a person may have changed a file: one cut short is no JSON object."""
    return file.name in EDITABLE and isinstance(read_json(file), dict)


def _listed(path: Path, part: str) -> dict[str, Any] | None:
    restore(path)
    known = read_json(manifest_of(path))
    found = known.get(part) if isinstance(known, dict) else None
    return found if isinstance(found, dict) else None


def _plain(key: Mapping[str, Any]) -> Any:
    """A key as it comes back from JSON."""
    return json.loads(json.dumps(key))


def _fingerprint(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, _checksum(file, state.st_ino, state.st_size, state.st_mtime_ns)]


@lru_cache(maxsize=4096)
def _checksum(file: Path, inode: int, size: int, modified: int) -> int:
    """CRC-32 of a file; what follows the path tells its states apart."""
    value = 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
