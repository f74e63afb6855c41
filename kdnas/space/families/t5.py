"""T5 and mT5: a bias for each head and distance, shared by the layers of a stack; gated or not."""

from dataclasses import replace

from kdnas.space.families.family import Attention, Family

FIELDS = {
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "hidden_act": "dense_act_fn",
    "own_head_size": "d_kv",
}
STACK = Family(
    model_types=("mt5", "t5"),
    fields=FIELDS,
    layers="encoder.block",
    heads_out=("SelfAttention.q", "SelfAttention.k", "SelfAttention.v"),
    heads_in="SelfAttention.o",
    neurons_in=("DenseReluDense.wi", "DenseReluDense.wi_0", "DenseReluDense.wi_1"),
    neurons_out="DenseReluDense.wo",
    scales_scores=False,
    scales_outputs="scale_decoder_outputs",
    act_also="feed_forward_proj",
)
FAMILY = replace(
    STACK,
    shallow_decoder=True,
    decoder=replace(
        STACK,
        fields={**FIELDS, "num_hidden_layers": "num_decoder_layers"},
        layers="decoder.block",
        last_norms=("decoder.final_layer_norm",),
        cross=Attention(
            ("EncDecAttention.q", "EncDecAttention.k", "EncDecAttention.v"), "EncDecAttention.o"
        ),
    ),
)
