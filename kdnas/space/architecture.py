"""A student's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What every architecture has, and what a decoder adds.
FIELDS = (
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "intermediate_size",
    "hidden_act",
)
DECODER_FIELDS = ("num_decoder_layers", "decoder_attention_heads", "decoder_intermediate_size")
# What a decoder has where nothing else is said.
ENCODERS = {
    "decoder_attention_heads": "num_attention_heads",
    "decoder_intermediate_size": "intermediate_size",
}


@dataclass(frozen=True, order=True)
class Architecture:
    """The shape of an encoder, or of an encoder and a decoder of one hidden size and activation.

    Attributes:
        num_decoder_layers: 0 where there is no decoder; the first five fields are the encoder's.
        decoder_attention_heads: 0 for as many as the encoder's.
        decoder_intermediate_size: Likewise.
    """

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int
    hidden_act: str
    num_decoder_layers: int = 0
    decoder_attention_heads: int = 0
    decoder_intermediate_size: int = 0

    def __post_init__(self) -> None:
        """One shape has one spelling: 0 for what is as in the encoder, 1 for what no layer has."""
        if self.is_static:
            for name in ENCODERS.values():
                object.__setattr__(self, name, 1)
        for name, encoders in ENCODERS.items():
            if not self.num_decoder_layers or getattr(self, name) == getattr(self, encoders):
                object.__setattr__(self, name, 0)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Architecture:
        """The architecture that a trial's parameters spell."""
        decoder = {name: params[name] for name in DECODER_FIELDS if params.get(name)}
        return cls(**{name: params[name] for name in FIELDS}, **decoder)

    @property
    def params(self) -> dict[str, int | str]:
        """The fields as a trial's parameters; those of a decoder where they say something."""
        decoder = {name: getattr(self, name) for name in DECODER_FIELDS}
        own = {name: value for name, value in decoder.items() if value}
        return {**{name: getattr(self, name) for name in FIELDS}, **own}

    @property
    def values(self) -> dict[str, int | str]:
        """All fields, those of a decoder filled in; 0 where there is no decoder."""
        found: dict[str, int | str] = {name: getattr(self, name) for name in FIELDS}
        for name in DECODER_FIELDS:
            value: int = getattr(self, name)
            if not value and self.num_decoder_layers and name in ENCODERS:
                value = getattr(self, ENCODERS[name])
            found[name] = value
        return found

    @property
    def encoder(self) -> Architecture:
        """The encoder alone."""
        return Architecture(*(getattr(self, name) for name in FIELDS))

    @property
    def decoder(self) -> Architecture | None:
        """The decoder as a stack of its own; None where there is none."""
        if not self.num_decoder_layers:
            return None
        layers, heads, neurons = (int(self.values[name]) for name in DECODER_FIELDS)
        return Architecture(layers, heads, self.hidden_size, neurons, self.hidden_act)

    @property
    def stacks(self) -> tuple[Architecture, ...]:
        """The encoder and, where there is one, the decoder."""
        return (self.encoder, self.decoder) if self.decoder else (self.encoder,)

    @property
    def is_static(self) -> bool:
        """Whether there are no layers: token vectors are averaged (`kdnas.students.static`)."""
        return not self.num_hidden_layers and not self.num_decoder_layers

    @property
    def label(self) -> str:
        """Short name, `6x384 h12 f1536 gelu`; with a decoder of 2 layers `6+2x384 ...`.

        Without layers `0x128`: the other fields say nothing.
        """
        if self.is_static:
            return f"0x{self.hidden_size}"
        heads, neurons = (getattr(self, name) for name in ENCODERS)
        return (
            f"{_both(self.num_hidden_layers, self.num_decoder_layers)}x{self.hidden_size} "
            f"h{_both(self.num_attention_heads, heads)} "
            f"f{_both(self.intermediate_size, neurons)} {self.hidden_act}"
        )

    @property
    def has_all_heads(self) -> bool:
        """Whether the heads of every layer together are as wide as the hidden size."""
        return True

    def fits(self, teacher: Architecture) -> bool:
        """Whether heads divide the hidden size and no dimension exceeds the teacher's.

        Student and teacher have a decoder, or neither has.
        """
        ours, theirs = self._sizes, teacher._sizes
        return (
            len(ours) == len(theirs)
            and all(a <= b for a, b in zip(ours, theirs, strict=True))
            and all(ours[1:] if self.is_static else ours)
            and self.hidden_size % self.num_attention_heads == 0
            and self.hidden_size % (self.decoder_attention_heads or 1) == 0
        )

    @property
    def _sizes(self) -> tuple[int, ...]:
        heads, neurons = self.num_attention_heads, self.intermediate_size
        encoder = (self.num_hidden_layers, heads, self.hidden_size, neurons)
        if not self.num_decoder_layers:
            return encoder
        own = (self.decoder_attention_heads or heads, self.decoder_intermediate_size or neurons)
        return (*encoder, self.num_decoder_layers, *own)


def _both(encoders: int, decoders: int) -> str:
    return f"{encoders}+{decoders}" if decoders else str(encoders)
