"""What a job will need of a disk, and what there is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from kdnas.runtime.formatting import in_bytes, short_path

WEIGHT_BYTES = 4
# A paused training keeps the weights and two averages of the gradient.
PAUSED = 3


@dataclass(frozen=True)
class Disk:
    """Bytes that a run will need in a folder, at most, and those that are free there."""

    folder: Path
    needed: int
    free: int

    @classmethod
    def of(cls, folder: Path, needed: int) -> Disk:
        """What is needed in a folder that need not be there yet."""
        return cls(folder, needed, shutil.disk_usage(existing(folder)).free)

    @property
    def lines(self) -> list[str]:
        """For people, with a warning where it is too little."""
        needed, free = in_bytes(self.needed), in_bytes(self.free)
        line = f"  disk       at most {needed} in {short_path(self.folder)}, {free} free"
        return [line, *([self.warning] if self.warning else [])]

    @property
    def warning(self) -> str | None:
        """A line where it is too little."""
        if self.needed <= self.free:
            return None
        return (
            f"warning: {self.folder} has {in_bytes(self.free)} free, and this needs about "
            f"{in_bytes(self.needed)}; free some, lower --proxy-fraction, or set KDNAS_CACHE and "
            "--out to a larger disk"
        )


def existing(folder: Path) -> Path:
    """A folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
