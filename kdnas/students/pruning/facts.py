"""The size and cost of a pruned student, as reports and commands print them."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from kdnas.measure import count_macs, count_params
from kdnas.students.pruning.kept import Kept, shape_of
from kdnas.students.pruning.slicing import dense


def pruned_facts(model: PreTrainedModel, length: int) -> dict[str, Any] | None:
    """Sizes of a student in its sliced form; None where it is not pruned.

    Args:
        model: The student, sliced.
        length: Tokens of the example whose multiply-accumulates are counted.

    Returns:
        Kept `heads` and `neurons` by layer, `params`, those `without_embeddings`, and `macs`, each
        of the latter three beside that of the dense form: `{"sliced": ..., "dense": ...}`.
    """
    kept = Kept.read(model.config)
    if kept is None:
        return None
    counts = kept.architecture(shape_of(model.config))
    forms = {"sliced": model, "dense": dense(model)}
    return {
        "heads": list(counts.num_attention_heads),
        "neurons": list(counts.intermediate_size),
        "params": {form: count_params(one) for form, one in forms.items()},
        "params_without_embeddings": {
            form: count_params(one, embeddings=False) for form, one in forms.items()
        },
        "macs": {form: count_macs(one, length) for form, one in forms.items()},
        "macs_length": length,
    }


def pruned_lines(facts: dict[str, Any]) -> list[str]:
    """The same in sentences, and which file a speed is of."""

    def beside(name: str, unit: str) -> str:
        small, whole = (facts[name][form] / 1e6 for form in ("sliced", "dense"))
        return f"{small:,.2f} of {whole:,.2f}M {unit}"

    return [
        f"pruned: {beside('params', 'parameters')}, without embeddings "
        f"{beside('params_without_embeddings', 'parameters')}, {beside('macs', 'MACs')} "
        f"at {facts['macs_length']} tokens",
        "speeds of ONNX files and of the student in PyTorch are those of its sliced form",
        "model.safetensors is dense, with zeros: kdnas slices it when it loads it; in plain "
        "transformers it is as slow as unpruned layers",
    ]
