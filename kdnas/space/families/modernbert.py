"""ModernBERT: rotary positions, local and global attention, gated neurons, no biases."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("modernbert",),
    fields={"hidden_act": "hidden_activation"},
    per_layer=("layer_types",),
    span=("layers", "final_norm"),
    layers="layers",
    heads_out=("attn.Wqkv", "attn.Wqkv", "attn.Wqkv"),
    heads_in="attn.Wo",
    neurons_in=("mlp.Wi",),
    neurons_out="mlp.Wo",
    rotary="halves",
    first_without="attn_norm",
)
