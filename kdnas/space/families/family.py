"""What kdnas knows of a family of models: how it names its config fields and weights."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from kdnas.space.architecture import EMBEDDINGS, FIELDS

__all__ = ["FIELDS", "SIDES", "UNITS", "Attention", "Family", "Place", "Unit", "is_at"]
Unit = Literal["query", "key", "value"]
UNITS: tuple[Unit, Unit, Unit] = ("query", "key", "value")
# Whose attention it is: the encoder's, the decoder's own, or the decoder's to the encoder's states.
Place = Literal["encoder", "decoder", "cross"]
# Of a model with two stacks: below which name the weights of each are, in their order.
SIDES: tuple[Place, Place] = ("encoder", "decoder")


@dataclass(frozen=True)
class Attention:
    """The maps of one attention of a layer.

    Attributes:
        heads_out: Names of the linear maps to queries, keys and values.
        heads_in: Name of the linear map that reads the concatenated heads.
    """

    heads_out: tuple[str, str, str]
    heads_in: str

    @property
    def maps(self) -> tuple[str, ...]:
        """The names of all of them."""
        return (*self.heads_out, self.heads_in)

    def units_of(self, path: str) -> tuple[Unit, ...]:
        """What the outputs of a map, by its path or name, are: nothing, one, or all three."""
        named = zip(UNITS, self.heads_out, strict=True)
        return tuple(unit for unit, end in named if is_at(path, end))


@dataclass(frozen=True)
class Family:
    """One family of encoders, or of encoders with decoders: then this is of the encoder's stack.

    Paths of modules are below the base model; names of maps are the ends of their paths.

    Attributes:
        model_types: What transformers calls its models in `config.json`.
        fields: The config's own names of fields, where they differ; `encoder.hidden_size` is a
            field of a config within it. `own_head_size` is among them where heads need not make up
            the hidden size.
        follows: Config fields that must equal another field (`pooler_hidden_size`).
        per_layer: Config fields that list something for each layer; a student's layer has what
            the teacher's layer has whose weights it inherits.
        span: Paths of the modules that tokens pass between embeddings and heads, in their order;
            of a list of modules, each.
        layers: Path of the module list of layers; None where layers share their weights. `*` stands
            for any one name, that of a part's base model.
        heads_out: Names of the linear maps to queries, keys and values. One map that makes all
            three, one after the other, is named three times.
        heads_also: Names of other maps or parameters with a row for each dimension of all heads,
            and of what: queries, keys or values.
        heads_in: Name of the linear map that reads the concatenated heads.
        neurons_in: Names of the linear maps into the feed-forward neurons; of a gated family both
            halves, or the map that makes both, one after the other.
        neurons_out: Name of the linear map out of them.
        by_head: Whether the one map that makes query, key and value does so head after head.
        rotary: Which dimensions of a head are rotated together, where positions are angles: those
            of its two halves, or neighbours.
        first_without: Name of a norm ahead of the attention that the first layer lacks.
        embedding_map: Path of the linear map from token embeddings to hidden states, where they may
            differ in size.
        computed: Names of modules whose weights follow from the config: checkpoints may lack them.
        keeps_computed: Whether models read them from checkpoints all the same, so that a student
            may have others; else nobody inherits them.
        drops_equal_map: Whether the model has no map from embeddings to hidden states where the
            two sizes are equal, so that weights of other sizes do not fit.
        position_offset: Whether positions are counted from the padding id up.
        padding_id: The padding id, where the family's code fixes it whatever the config says.
        scales_scores: Whether attention divides its scores by the root of the size of a head.
        scales_embeddings: Config field that says whether token embeddings are multiplied by the
            root of the hidden size.
        scales_outputs: Config field that says whether the decoder's last states are divided by it.
        act_also: Config field that spells the activation once more, behind `gated-` where neurons
            are gated.
        inner: Model types of the configs within the config, where there are any.
        decoder: The decoder's stack, as a family of its own. It has the encoder's hidden size and
            activation.
        shallow_decoder: Whether a decoder must not be deeper than its encoder: the cache of its
            keys and values has the encoder's depth.
        cross: Of a decoder's stack: the attention that reads the encoder's states.
        last_norms: Of a decoder's stack: the norm behind it, as the first of these that there is;
            `{last}` stands for the number of its last layer.
    """

    model_types: tuple[str, ...]
    fields: dict[str, str] = field(default_factory=dict)
    follows: dict[str, str] = field(default_factory=dict)
    per_layer: tuple[str, ...] = ()
    span: tuple[str, ...] = ("encoder",)
    layers: str | None = "encoder.layer"
    heads_out: tuple[str, str, str] = UNITS
    heads_also: dict[str, Unit] = field(default_factory=dict)
    heads_in: str = "attention.output.dense"
    neurons_in: tuple[str, ...] = ("intermediate.dense",)
    neurons_out: str = "output.dense"
    by_head: bool = False
    rotary: Literal["halves", "neighbours"] | None = None
    first_without: str | None = None
    embedding_map: str | None = None
    computed: tuple[str, ...] = ()
    keeps_computed: bool = False
    drops_equal_map: bool = False
    position_offset: bool = False
    padding_id: int | None = None
    scales_scores: bool = True
    scales_embeddings: str | None = None
    scales_outputs: str | None = None
    act_also: str | None = None
    inner: tuple[str, ...] = ()
    decoder: Family | None = None
    shallow_decoder: bool = False
    cross: Attention | None = None
    last_norms: tuple[str, ...] = ()

    @property
    def stacks(self) -> tuple[Family, ...]:
        """The encoder and, where there is one, the decoder."""
        return (self, self.decoder) if self.decoder else (self,)

    @property
    def attention(self) -> Attention:
        """The attention of a stack's tokens to each other."""
        return Attention(self.heads_out, self.heads_in)

    def stack_of(self, path: str) -> Family:
        """The stack that a module or weight of a model belongs to.

        The decoder's are the head and what both stacks share, too.
        """
        if self.decoder is None:
            return self
        side = next((part for part in path.split(".") if part in SIDES), SIDES[-1])
        return self.stacks[SIDES.index(side)]

    def attention_at(self, path: str) -> tuple[Place, Attention] | None:
        """The attention of which a module or weight of a model is part, and whose it is."""
        stack = self.stack_of(path)
        if stack.cross and any(is_at(path, end) for end in stack.cross.maps):
            return "cross", stack.cross
        if any(is_at(path, end) for end in stack.attention.maps):
            return ("encoder" if stack is self else "decoder"), stack.attention
        return None

    def computes(self, weight: str) -> bool:
        """Whether a weight of a model follows from its config, by its name."""
        module = weight.rpartition(".")[0]
        return any(is_at(module, end) for end in self.stack_of(weight).computed)

    def layer_of(self, path: str) -> tuple[str, int] | None:
        """The layer of a module or weight: its path and its number, from 0; None outside layers.

        Where layers share their weights there are none.
        """
        layers = self.stack_of(path).layers
        if layers is None:
            return None
        below = re.escape(layers).replace(r"\*", r"\w+")
        found = re.match(rf"((?:.*?\.)?{below}\.(\d+))(?:\.|$)", path)
        return (found[1], int(found[2])) if found else None

    def field_name(self, name: str) -> str:
        """The config's own name of a field of the search space."""
        return self.fields.get(name, name)

    def read(self, config: Any, name: str) -> Any:
        """A config's value of a field of the search space."""
        holder, own = _holder(config, self.field_name(name))
        return getattr(holder, own)

    def embedding_size(self, config: Any) -> int:
        """How wide a model's token embeddings are."""
        holder, own = _holder(config, self.field_name(EMBEDDINGS))
        return int(getattr(holder, own, None) or self.read(config, "hidden_size"))

    def write(self, config: Any, name: str, value: int | str) -> None:
        """Sets it."""
        holder, own = _holder(config, self.field_name(name))
        setattr(holder, own, value)
        if name == "hidden_act" and self.act_also:
            gate, _, _ = getattr(config, self.act_also).rpartition("-")
            setattr(config, self.act_also, f"{gate}-{value}" if gate else value)

    def units_of(self, path: str) -> tuple[Unit, ...]:
        """What the outputs of a map, by its path or name, are: nothing, one, or all three."""
        return self.attention.units_of(path)


def _holder(config: Any, name: str) -> tuple[Any, str]:
    """The config that has a field, and the field's name in it."""
    *inner, own = name.split(".")
    for part in inner:
        config = getattr(config, part)
    return config, own


def is_at(path: str, name: str) -> bool:
    """Whether a module's path ends in a name."""
    return path == name or path.endswith(f".{name}")
