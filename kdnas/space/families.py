"""Encoder families: how each names its config fields and weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture

FIELDS = tuple(Architecture.__dataclass_fields__)


@dataclass(frozen=True)
class Family:
    """One family of encoders.

    Attributes:
        fields: The config's own names of fields, where they differ.
        follows: Config fields that must equal another field (`pooler_hidden_size`).
        encoder: Path of the module of all layers below the base model.
        layers: Path of the module list of layers below the base model; None where layers share
            their weights.
        heads_out: Names of the linear maps whose outputs are split into heads: query, key, value
            first.
        heads_in: Names of the linear map that reads the concatenated heads.
        neurons_in: Name of the linear map into the feed-forward neurons.
        neurons_out: Name of the linear map out of them.
        drops_equal_map: Whether the model has no map from embeddings to hidden states where the
            two sizes are equal, so that weights of other sizes do not fit.
        position_offset: Whether positions are counted from the padding id up.
        padding_id: The padding id, where the family's code fixes it whatever the config says.
    """

    fields: dict[str, str] = field(default_factory=dict)
    follows: dict[str, str] = field(default_factory=dict)
    encoder: str = "encoder"
    layers: str | None = "encoder.layer"
    heads_out: tuple[str, ...] = ("query", "key", "value")
    heads_in: str = "attention.output.dense"
    neurons_in: str = "intermediate.dense"
    neurons_out: str = "output.dense"
    drops_equal_map: bool = False
    position_offset: bool = False
    padding_id: int | None = None

    def field_name(self, name: str) -> str:
        """The config's own name of a field of the search space."""
        return self.fields.get(name, name)


BERT = Family()
ELECTRA = Family(drops_equal_map=True)
ROBERTA = Family(position_offset=True)
DEBERTA_V2 = Family(
    follows={"pooler_hidden_size": "hidden_size"},
    heads_out=("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj"),
)
DISTILBERT = Family(
    fields={
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "hidden_size": "dim",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    },
    encoder="transformer",
    layers="transformer.layer",
    heads_out=("q_lin", "k_lin", "v_lin"),
    heads_in="attention.out_lin",
    neurons_in="ffn.lin1",
    neurons_out="ffn.lin2",
)
ALBERT = Family(layers=None, heads_in="attention.dense", neurons_in="ffn", neurons_out="ffn_output")
MPNET = Family(
    heads_out=("attn.q", "attn.k", "attn.v"),
    heads_in="attn.o",
    position_offset=True,
    padding_id=1,
)

FAMILIES: dict[str, Family] = {
    "albert": ALBERT,
    "bert": BERT,
    "camembert": ROBERTA,
    "data2vec-text": ROBERTA,
    "deberta-v2": DEBERTA_V2,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "ernie": BERT,
    "mpnet": MPNET,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
}


def family_of(model_type: str, name: str) -> Family:
    """The family of a teacher by its config's `model_type`; `name` is for the message.

    Raises:
        KdnasError: The model is not an encoder of a supported family.
    """
    if model_type not in FAMILIES:
        raise KdnasError(
            f"unsupported teacher {name!r}: model type {model_type!r}; supported encoders: "
            f"{', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[model_type]
