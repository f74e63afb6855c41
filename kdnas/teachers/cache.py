"""Keys of what the cache holds: fine-tuned teachers, their signal, general students."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from transformers import PreTrainedModel

from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.types import THRESHOLD
from kdnas.teachers.load import Teacher

# Raised whenever what is cached would come out differently from the same inputs.
FORMAT = 3


def hash_of(value: Any) -> str:
    """Names a plain value by its content."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def teacher_key(teacher: Teacher, data: EncodedExamples, **what: Any) -> str:
    """Names what was made, and how, from a teacher's weights and config and some data's content."""
    config = teacher.model.config.to_dict()
    for name in ("_name_or_path", THRESHOLD):  # what changes no output
        config.pop(name, None)
    return hash_of([FORMAT, weights_digest(teacher.model), config, data.fingerprint(), what])


def about(teacher: Teacher, rows: EncodedExamples) -> str:
    """What was made from a teacher and some rows, as `kdnas cache list` tells it."""
    return f"{teacher.name} on {len(rows):,} rows"


def fingerprint(teacher: Teacher, *data: EncodedExamples) -> str:
    """Tells a teacher's weights and some data from others by their content, on any machine."""
    parts = [weights_digest(teacher.model), *(part.fingerprint() for part in data)]
    return hash_of(" ".join(parts))


_digests: WeakKeyDictionary[PreTrainedModel, tuple[Any, str]] = WeakKeyDictionary()


def weights_digest(model: PreTrainedModel) -> str:
    """A hash of a model's weights, computed once for each state of them."""
    tensors = sorted(model.state_dict(keep_vars=True).items())
    # Every change in place counts up a tensor's version; other changes give it other memory.
    state = [(name, value.data_ptr(), value._version) for name, value in tensors]
    known = _digests.get(model)
    if known is None or known[0] != state:
        known = _digests[model] = (state, _hash(tensors))
    return known[1]


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """A hash of named tensors."""
    return _hash(sorted(tensors.items()))


def _hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, value in tensors:
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
