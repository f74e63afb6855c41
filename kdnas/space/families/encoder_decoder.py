"""Two encoders of BERT's kind, the second made a decoder by cross-attention and a head."""

from dataclasses import replace

from kdnas.space.families.family import FIELDS, Attention, Family

STACK = Family(
    model_types=("encoder-decoder",),
    fields={name: f"encoder.{name}" for name in FIELDS},
    layers="encoder.encoder.layer",
    heads_out=("attention.self.query", "attention.self.key", "attention.self.value"),
    inner=("bert", "camembert", "roberta", "xlm-roberta"),
)
FAMILY = replace(
    STACK,
    decoder=replace(
        STACK,
        fields={name: f"decoder.{name}" for name in FIELDS},
        layers="decoder.*.encoder.layer",
        cross=Attention(
            ("crossattention.self.query", "crossattention.self.key", "crossattention.self.value"),
            "crossattention.output.dense",
        ),
    ),
)
