"""What kdnas knows of a family of encoders: how it names its config fields and weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kdnas.space.architecture import Architecture

FIELDS = tuple(Architecture.__dataclass_fields__)
Unit = Literal["query", "key", "value"]
UNITS: tuple[Unit, Unit, Unit] = ("query", "key", "value")


@dataclass(frozen=True)
class Family:
    """One family of encoders.

    Paths of modules are below the base model; names of maps are the ends of their paths.

    Attributes:
        model_types: What transformers calls its models in `config.json`.
        fields: The config's own names of fields, where they differ.
        follows: Config fields that must equal another field (`pooler_hidden_size`).
        per_layer: Config fields that list something for each layer; a student's layer has what
            the teacher's layer has whose weights it inherits.
        span: Paths of the modules that tokens pass between embeddings and heads, in their order;
            of a list of modules, each.
        layers: Path of the module list of layers; None where layers share their weights.
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
        computed: Names of modules whose weights follow from the config; nobody inherits them.
        drops_equal_map: Whether the model has no map from embeddings to hidden states where the
            two sizes are equal, so that weights of other sizes do not fit.
        position_offset: Whether positions are counted from the padding id up.
        padding_id: The padding id, where the family's code fixes it whatever the config says.
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
    computed: tuple[str, ...] = ()
    drops_equal_map: bool = False
    position_offset: bool = False
    padding_id: int | None = None

    def field_name(self, name: str) -> str:
        """The config's own name of a field of the search space."""
        return self.fields.get(name, name)

    def units_of(self, path: str) -> tuple[Unit, ...]:
        """What the outputs of a map, by its path or name, are: nothing, one, or all three."""
        named = zip(UNITS, self.heads_out, strict=True)
        return tuple(unit for unit, end in named if is_at(path, end))


def is_at(path: str, name: str) -> bool:
    """Whether a module's path ends in a name."""
    return path == name or path.endswith(f".{name}")
