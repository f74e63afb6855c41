"""GTE and Nomic BERT: rotary positions and gated neurons under the names of Llama."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("gte", "nomic_bert"),
    fields={"own_head_size": "head_dim"},
    span=("layers",),
    layers="layers",
    heads_out=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    heads_in="self_attn.o_proj",
    neurons_in=("mlp.gate_proj", "mlp.up_proj"),
    neurons_out="mlp.down_proj",
    rotary="halves",
)
