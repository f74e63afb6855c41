"""DistilBERT: BERT with other names."""

from kdnas.space.families.family import Family

FAMILY = Family(
    model_types=("distilbert",),
    fields={
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "hidden_size": "dim",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    },
    span=("transformer",),
    layers="transformer.layer",
    heads_out=("q_lin", "k_lin", "v_lin"),
    heads_in="attention.out_lin",
    neurons_in=("ffn.lin1",),
    neurons_out="ffn.lin2",
)
