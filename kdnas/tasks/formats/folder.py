"""Finding a task's local files: its folder under --data-dir, and the file of each split."""

from __future__ import annotations

from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.formats.endings import ending_of, stem_of
from kdnas.tasks.formats.files import is_named, read_split, suffixes_of
from kdnas.tasks.formats.tables import select_columns
from kdnas.tasks.formats.text import SHEETS
from kdnas.tasks.spec import TaskSpec

_VALIDATION_STEMS = ("validation", "dev", "valid", "val")
_SHARD = "-00000-of-00001"  # how the hub names the only file of a split
_NAMED = 3


class FolderSource:
    """The splits of a task in a local folder."""

    def __init__(self, spec: TaskSpec, folder: Path) -> None:
        self.spec, self.folder, self.description = spec, folder, str(folder)

    def has(self, split: str) -> bool:
        """Whether the split has a file."""
        return bool(self._files(split))

    def read(self, split: str) -> RawSplit:
        """The split's rows; KdnasError where it has no file, or several, or a broken one."""
        spec, files = self.spec, self._files(split)
        if len(files) > 1:
            raise KdnasError(
                f"{self.folder} holds more than one {split} file: "
                f"{', '.join(path.name for path in files)}; keep one, or name it under "
                f"`files:` in task {spec.name!r}"
            )
        if not files:
            raise KdnasError(
                f"{self.folder} has no {split} file for task {spec.name!r}; found "
                f"{_content(self.folder, 8)}; name it {' or '.join(_stems(spec, split))} with an "
                f"ending of {' '.join(_told(suffixes_of(spec)))}"
            )
        return select_columns(read_split(files[0], spec), spec, split)

    def unread(self, split: str) -> str:
        """Which files may be a split that was not found, and what to call it; '' where none are.

        They are those of a readable format that have no split's name.
        """
        spec, endings = self.spec, suffixes_of(self.spec)
        splits = ("test", "validation", *spec.splits)
        known = {stem for one in splits for stem in _stems(spec, one)}
        files = [
            path
            for path in sorted(self.folder.iterdir())
            if ending_of(path, endings) and path.is_file() and not _names(path, endings) & known
        ]
        if not files:
            return ""
        name, ending = _stems(spec, split)[0], ending_of(files[0], endings)
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        return (
            f"{', '.join(path.name for path in files[:_NAMED])}{more} "
            f"{'is' if len(files) == 1 else 'are'} not read; call the {split} split "
            f"{name.removesuffix(ending)}{ending}, or name its file under `files:` in the task"
        )

    def _files(self, split: str) -> list[Path]:
        """Files of a readable format whose stem, or whole name, is one of the split's.

        Names that the task gives are taken in its order. Without one: its spreadsheets, which
        reading refuses with what to do.

        Raises:
            KdnasError: There is a folder with the name of such a file.
        """
        stems, own = _stems(self.spec, split), split in self.spec.files
        there, endings = sorted(self.folder.iterdir()), suffixes_of(self.spec)
        for names in [(stem,) for stem in stems] if own else [stems]:
            named = [path for path in there if _names(path, endings) & set(names)]
            for kind in (endings, SHEETS):
                if found := [path for path in named if ending_of(path, kind)]:
                    return _all_files(found, split)
            whole = [path for path in named if path.name in names and path.is_file()]
            if own and (found := [path for path in whole if is_named(path, self.spec)]):
                return found
        return []


def find_folder(spec: TaskSpec, data_dir: Path) -> FolderSource | None:
    """The task's folder in data_dir or data_dir/glue, letter case aside.

    Without one: data_dir itself if it holds a file of a split, else None for an embedded task;
    another task raises KdnasError.
    """
    if not data_dir.is_dir():
        problem = "is a file, not a folder" if data_dir.exists() else "does not exist"
        raise KdnasError(f"the data folder {data_dir} {problem}")
    names = [spec.name, *spec.folders]
    for parent in (data_dir, *_children(data_dir, ["glue"])):
        for folder in _children(parent, names):
            return FolderSource(spec, folder)
    direct = FolderSource(spec, data_dir)
    if any(direct.has(split) for split in spec.splits):
        return direct
    if spec.embedded:
        return None
    raise KdnasError(
        f"{data_dir} has no folder for task {spec.name!r}; found {_content(data_dir, 12)}; name "
        f"the folder {' or '.join(names)} (letter case aside), with files such as train.tsv and "
        "dev.tsv"
    )


def _all_files(paths: list[Path], split: str) -> list[Path]:
    for path in paths:
        if path.is_dir():
            raise KdnasError(f"{path} is a folder; give the {split} split as a file of this name")
    return paths


def _names(path: Path, endings: tuple[str, ...]) -> set[str]:
    """By which a split may name a file: its whole name, and its stem."""
    return {path.name, stem_of(path, endings).removesuffix(_SHARD)}


def _told(endings: tuple[str, ...]) -> list[str]:
    """Endings without those of packed files, which go by the others' names."""
    return [ending for ending in endings if not ending.endswith(".gz")]


def _content(folder: Path, most: int) -> str:
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    return ", ".join(names[:most]) or "nothing"


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
