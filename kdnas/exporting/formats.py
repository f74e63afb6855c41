"""What a student can be exported as."""

from __future__ import annotations

from collections.abc import Iterable

from kdnas.config import nearest
from kdnas.errors import KdnasError

# torch: the plain checkpoint. The others: a file that ONNX Runtime reads, by its place in the
# export's folder, where the hub's other tools look for them too.
FILES = {"onnx": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}
FORMATS = ("torch", *FILES)


def read_formats(given: Iterable[str]) -> tuple[str, ...]:
    """The formats that were named, each once; several may be in one word, between commas.

    Raises:
        KdnasError: One is unknown.
    """
    names = [name.strip() for word in given for name in word.split(",")]
    for name in names:
        if name not in FORMATS:
            raise KdnasError(f"--format is {name!r}{nearest(name, FORMATS)}")
    return tuple(name for name in FORMATS if name in names)
