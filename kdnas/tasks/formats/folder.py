"""Finding a task's local files: its folder under --data-dir, and the file of each split."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.formats.columns import has_text_columns, select_columns
from kdnas.tasks.formats.tables import SUFFIXES, read_rows
from kdnas.tasks.spec import TaskSpec

_VALIDATION_STEMS = ("validation", "dev", "valid", "val")
_SHARD = "-00000-of-00001"  # how the hub names the only file of a split


class FolderSource:
    """The splits of a task in a local folder."""

    def __init__(self, spec: TaskSpec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder
        self.description = str(folder)

    def has(self, split: str) -> bool:
        """Whether the split has a file."""
        return bool(self._candidates(split))

    def read(self, split: str) -> RawSplit:
        """The split's rows.

        Raises:
            KdnasError: The split has no file, or more than one, or the file cannot be read.
        """
        path = self._path(split)
        is_header = partial(has_text_columns, self.spec)
        rows = read_rows(path, self.spec.headerless, is_header)
        return select_columns(rows, self.spec, needs_labels=split not in self.spec.test_splits)

    def _path(self, split: str) -> Path:
        candidates = self._candidates(split)
        if len(candidates) > 1:
            raise KdnasError(
                f"{self.folder} holds more than one {split} file: "
                f"{', '.join(path.name for path in candidates)}; keep one, or name it under "
                f"`files:` in task {self.spec.name!r}"
            )
        if not candidates:
            found = sorted(path.name for path in self.folder.iterdir())[:8]
            raise KdnasError(
                f"{self.folder} has no {split} file for task {self.spec.name!r}; found "
                f"{', '.join(found) or 'nothing'}; name it "
                f"{' or '.join(_stems(self.spec, split))} with an ending of {' '.join(SUFFIXES)}"
            )
        return candidates[0]

    def _candidates(self, split: str) -> list[Path]:
        return _split_files(self.folder, _stems(self.spec, split))


def open_folder(spec: TaskSpec, data_dir: Path) -> FolderSource:
    """The task's folder under data_dir, or data_dir itself.

    Raises:
        KdnasError: There is no such folder.
    """
    source = find_folder(spec, data_dir)
    if source is None:
        found = sorted(path.name for path in data_dir.iterdir())[:12]
        raise KdnasError(
            f"{data_dir} has no folder for task {spec.name!r}; found "
            f"{', '.join(found) or 'nothing'}; name the "
            f"folder {' or '.join([spec.name, *spec.folders])} (letter case aside), with files "
            "such as train.tsv and dev.tsv"
        )
    return source


def find_folder(spec: TaskSpec, data_dir: Path) -> FolderSource | None:
    """The task's folder in data_dir or data_dir/glue, letter case aside.

    Without one: data_dir itself if it holds a file of a split, else None.

    Raises:
        KdnasError: data_dir does not exist.
    """
    if not data_dir.is_dir():
        raise KdnasError(f"the data folder {data_dir} does not exist")
    for parent in (data_dir, *_children(data_dir, ["glue"])):
        for folder in _children(parent, [spec.name, *spec.folders]):
            return FolderSource(spec, folder)
    direct = FolderSource(spec, data_dir)
    return direct if any(direct.has(split) for split in spec.splits) else None


def _children(parent: Path, names: list[str]) -> list[Path]:
    wanted = {name.casefold() for name in names}
    folders = (path for path in parent.iterdir() if path.is_dir())
    return sorted(path for path in folders if path.name.casefold() in wanted)


def _stems(spec: TaskSpec, split: str) -> tuple[str, ...]:
    if split in spec.files:
        return spec.files[split]
    if not split.startswith("validation"):
        return (split,)
    return tuple(split.replace("validation", stem, 1) for stem in _VALIDATION_STEMS)


def _split_files(folder: Path, stems: tuple[str, ...]) -> list[Path]:
    """Files of a readable format whose stem, or whole name, is one of these."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and (path.name in stems or path.stem.removesuffix(_SHARD) in stems)
    )
