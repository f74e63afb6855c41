"""Reading a task from the Hugging Face hub."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kdnas.errors import KdnasError
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.formats.tables import Rows, named_cells, numbered, select_columns
from kdnas.tasks.spec import Hub, TaskSpec


class HubSource:
    """The splits of a task on the hub, fetched on first use."""

    def __init__(self, spec: TaskSpec, hub: Hub) -> None:
        self.spec, self.hub = spec, hub
        self.description = hub.path if hub.name is None else f"{hub.path} ({hub.name})"

    def has(self, split: str) -> bool:
        """Whether the data set has the split; raises KdnasError where the hub cannot be read."""
        return self._name(split) in self._splits

    def read(self, split: str) -> RawSplit:
        """The split's rows, class ids replaced by the data set's class names.

        Raises KdnasError where the hub cannot be reached, or the split or a column is missing.
        """
        if not self.has(split):
            raise KdnasError(
                f"{self.description} on the hub has no split {split!r}; found "
                f"{', '.join(self._splits)}"
            )
        data = self._splits[self._name(split)]
        header = list(data.column_names)
        names = [_class_names(data.features[column]) for column in header]
        columns = [
            named_cells(data[column], words) for column, words in zip(header, names, strict=True)
        ]
        rows = Rows(
            f"{self.description} split {split!r}",
            header,
            numbered(zip(*columns, strict=True)),
            classes={at: found for at, found in enumerate(names) if found},
        )
        return select_columns(rows, self.spec, split)

    def _name(self, split: str) -> str:
        """The data set's own name of a split."""
        return next((n for n in self.spec.files.get(split, ()) if n in self._splits), split)

    @cached_property
    def _splits(self) -> Any:
        return fetch(self.hub, "give the data with --data-dir")


def _class_names(feature: Any) -> list[str] | None:
    """The names of a feature's classes, or of those in its lists; None where it has none."""
    inner = feature[0] if isinstance(feature, list) and feature else feature
    inner = getattr(inner, "feature", inner)
    return getattr(inner, "names", None)


def fetch(hub: Hub, advice: str, split: str | None = None) -> Any:
    """A data set of the hub: a mapping of splits, or one split.

    Args:
        hub: Which.
        advice: What to do instead; the end of the KdnasError where it cannot be loaded.
        split: The split wanted; None for all.
    """
    from datasets import load_dataset  # takes half a second, which local files spare

    try:
        return load_dataset(hub.path, hub.name, revision=hub.revision, split=split)
    except Exception as error:  # whatever a missing network, data set or token makes it raise
        reason = (str(error).splitlines() or [""])[0]
        raise KdnasError(
            f"cannot load {hub.path!r}{f' ({hub.name})' if hub.name else ''} from the hub: "
            f"{type(error).__name__}: {reason}; {advice}"
        ) from None
