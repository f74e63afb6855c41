"""Parquet files, and the classes that those of hub data sets name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdnas.errors import KdnasError

if TYPE_CHECKING:
    import pandas as pd

# Under this key of a schema, datasets keeps the features of a set.
_FEATURES = b"huggingface"


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as a frame, its index, where it has names, as columns like the others.

    Raises:
        KdnasError: It cannot be read as one, or has a column twice.
    """
    import pandas as pd  # takes a second
    import pyarrow.parquet as pq

    try:
        counts = Counter(pq.read_schema(path).names)
        if twice := next((name for name, count in counts.items() if count > 1), None):
            raise KdnasError(
                f"{path} has the column {twice!r} {counts[twice]} times; rename or remove one"
            )
        frame = pd.read_parquet(path)
    except KdnasError:
        raise
    except Exception as error:  # pyarrow's are of many kinds: a damaged page, a codec it lacks, ...
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KdnasError(f"{path} cannot be read as Parquet: {reason}") from None
    own = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(own) if own else frame


def class_names(path: Path) -> dict[str, list[str]]:
    """Names of the classes in the order of their ids, by column of ids, where the file has them.

    A column may hold lists of ids.

    Categories of pandas and dictionaries of Arrow are none: their values stand in the cells.
    """
    import pyarrow.parquet as pq

    kept = (pq.read_schema(path).metadata or {}).get(_FEATURES)
    try:
        features = json.loads(kept or b"{}").get("info", {}).get("features", {})
        inner = {column: _of_lists(feature) for column, feature in features.items()}
        return {
            column: list(map(str, feature["names"]))
            for column, feature in inner.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, KeyError, TypeError):  # another's words under that key
        return {}


def _of_lists(feature: Any) -> Any:
    """A feature, or that of the items of its lists."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return feature.get("feature", feature) if isinstance(feature, dict) else feature
