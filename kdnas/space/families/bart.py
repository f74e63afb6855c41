"""BART, and models that differ from it in nothing that kdnas reads."""

from dataclasses import replace

from kdnas.space.families.family import Attention, Family


def _fields(side: str) -> dict[str, str]:
    """The config's names of a stack's fields."""
    return {
        "num_hidden_layers": f"{side}_layers",
        "num_attention_heads": f"{side}_attention_heads",
        "hidden_size": "d_model",
        "intermediate_size": f"{side}_ffn_dim",
        "hidden_act": "activation_function",
    }


STACK = Family(
    model_types=("bart", "plbart"),
    fields=_fields("encoder"),
    layers="encoder.layers",
    heads_out=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    heads_in="self_attn.out_proj",
    neurons_in=("fc1",),
    neurons_out="fc2",
    scales_embeddings="scale_embedding",
)
DECODER = replace(
    STACK,
    fields=_fields("decoder"),
    layers="decoder.layers",
    last_norms=("decoder.layer_norm", "decoder.layers.{last}.final_layer_norm"),
    cross=Attention(
        ("encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj"),
        "encoder_attn.out_proj",
    ),
)
FAMILY = replace(STACK, decoder=DECODER)
