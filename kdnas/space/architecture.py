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
# What is no choice: students have the teacher's.
HEAD_SIZE = "own_head_size"
# The width of factorised token embeddings (ALBERT, Lan et al. 2020).
EMBEDDINGS = "embedding_size"
# What is spelled only where it says something.
OWN_SIZES = (HEAD_SIZE, EMBEDDINGS)
# All that not every architecture has.
FURTHER_FIELDS = (*DECODER_FIELDS, *OWN_SIZES)
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
        own_head_size: Dimensions of each head, where all heads together are not as wide as the
            hidden size; 0 where they are.
        embedding_size: Width of the table of token embeddings, which a map widens to the hidden
            size; 0 for the table that students of the family have otherwise.
    """

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int
    hidden_act: str
    num_decoder_layers: int = 0
    decoder_attention_heads: int = 0
    decoder_intermediate_size: int = 0
    own_head_size: int = 0
    embedding_size: int = 0

    def __post_init__(self) -> None:
        """One shape has one spelling: 0 for what follows from others, 1 for what no layer has."""
        if self.is_static:
            for name in ENCODERS.values():
                object.__setattr__(self, name, 1)
            object.__setattr__(self, EMBEDDINGS, 0)
        for name, encoders in ENCODERS.items():
            if not self.num_decoder_layers or getattr(self, name) == getattr(self, encoders):
                object.__setattr__(self, name, 0)
        widths = {heads * self.own_head_size for heads in self._heads}
        if self.is_static or widths == {self.hidden_size}:
            object.__setattr__(self, HEAD_SIZE, 0)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Architecture:
        """The architecture that a trial's parameters spell."""
        further = {name: params[name] for name in FURTHER_FIELDS if params.get(name)}
        return cls(**{name: params[name] for name in FIELDS}, **further)

    @property
    def params(self) -> dict[str, int | str]:
        """The fields as a trial's parameters; those that not all have where they say something."""
        further = {name: getattr(self, name) for name in FURTHER_FIELDS}
        own = {name: value for name, value in further.items() if value}
        return {**{name: getattr(self, name) for name in FIELDS}, **own}

    @property
    def values(self) -> dict[str, int | str]:
        """All fields, those of a decoder filled in; 0 where there is no decoder.

        A size of heads or of embeddings is among them where it is their own.
        """
        found: dict[str, int | str] = {name: getattr(self, name) for name in FIELDS}
        for name in DECODER_FIELDS:
            value: int = getattr(self, name)
            if not value and self.num_decoder_layers and name in ENCODERS:
                value = getattr(self, ENCODERS[name])
            found[name] = value
        own = {name: getattr(self, name) for name in OWN_SIZES}
        return found | {name: size for name, size in own.items() if size}

    @property
    def encoder(self) -> Architecture:
        """The encoder alone."""
        return Architecture.from_params(
            {name: getattr(self, name) for name in (*FIELDS, *OWN_SIZES)}
        )

    @property
    def decoder(self) -> Architecture | None:
        """The decoder as a stack of its own; None where there is none."""
        if not self.num_decoder_layers:
            return None
        layers, heads, neurons = (int(self.values[name]) for name in DECODER_FIELDS)
        own = (layers, heads, self.hidden_size, neurons, self.hidden_act)
        return Architecture(*own, own_head_size=self.own_head_size)

    @property
    def stacks(self) -> tuple[Architecture, ...]:
        """The encoder and, where there is one, the decoder."""
        return (self.encoder, self.decoder) if self.decoder else (self.encoder,)

    @property
    def head_size(self) -> int:
        """Dimensions of each of the encoder's heads."""
        return self.own_head_size or self.hidden_size // self.num_attention_heads

    @property
    def heads_width(self) -> int:
        """Dimensions of all heads of a layer of the encoder together."""
        return self.own_head_size * self.num_attention_heads or self.hidden_size

    @property
    def is_static(self) -> bool:
        """Whether there are no layers: token vectors are averaged (`kdnas.students.static`)."""
        return not self.num_hidden_layers and not self.num_decoder_layers

    @property
    def label(self) -> str:
        """Short name, `6x384 h12 f1536 gelu`; with a decoder of 2 layers `6+2x384 ...`.

        With embeddings of 64 `6x384 h12 f1536 e64 gelu`. Without layers `0x128`: the other fields
        say nothing.
        """
        if self.is_static:
            return f"0x{self.hidden_size}"
        heads, neurons = (getattr(self, name) for name in ENCODERS)
        narrow = f"e{self.embedding_size} " if self.embedding_size else ""
        return (
            f"{_both(self.num_hidden_layers, self.num_decoder_layers)}x{self.hidden_size} "
            f"h{_both(self.num_attention_heads, heads)} "
            f"f{_both(self.intermediate_size, neurons)} {narrow}{self.hidden_act}"
        )

    @property
    def has_all_heads(self) -> bool:
        """Whether every layer has all of its heads."""
        return True

    def fits(self, teacher: Architecture) -> bool:
        """Whether heads fit the hidden size and no dimension exceeds the teacher's.

        Heads divide the hidden size, or have the size of the teacher's where that is their own.
        Embeddings that are factorised are narrower than the hidden size.
        Student and teacher have a decoder, or neither has.
        """
        ours, theirs = self._sizes, teacher._sizes
        return (
            len(ours) == len(theirs)
            and all(a <= b for a, b in zip(ours, theirs, strict=True))
            and all(ours[1:] if self.is_static else ours)
            and 0 <= self.embedding_size < self.hidden_size
            and self._has_heads_as(teacher)
        )

    def _has_heads_as(self, teacher: Architecture) -> bool:
        size = teacher.own_head_size
        if not size or self.is_static:
            return not (self.own_head_size or any(self.hidden_size % n for n in self._heads))
        return all((self.own_head_size or self.hidden_size / n) == size for n in self._heads)

    @property
    def _heads(self) -> tuple[int, ...]:
        """Of each stack."""
        both = (self.num_attention_heads, self.decoder_attention_heads)
        return both if self.decoder_attention_heads else both[:1]

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
