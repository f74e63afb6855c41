"""A student's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Architecture:
    """The shape of an encoder."""

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int
    hidden_act: str

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Architecture:
        """The architecture that a trial's parameters spell."""
        return cls(**{name: params[name] for name in cls.__dataclass_fields__})

    @property
    def params(self) -> dict[str, int | str]:
        """The fields as a trial's parameters."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Short name, `6x384 h12 f1536 gelu`."""
        return (
            f"{self.num_hidden_layers}x{self.hidden_size} h{self.num_attention_heads} "
            f"f{self.intermediate_size} {self.hidden_act}"
        )

    @property
    def has_all_heads(self) -> bool:
        """Whether the heads of every layer together are as wide as the hidden size."""
        return True

    def fits(self, teacher: Architecture) -> bool:
        """Whether heads divide the hidden size and no dimension exceeds the teacher's."""
        return (
            0 < self.num_attention_heads <= teacher.num_attention_heads
            and 0 < self.hidden_size <= teacher.hidden_size
            and self.hidden_size % self.num_attention_heads == 0
            and 0 < self.num_hidden_layers <= teacher.num_hidden_layers
            and 0 < self.intermediate_size <= teacher.intermediate_size
        )
