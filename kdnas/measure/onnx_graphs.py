"""The graphs that a model becomes in ONNX: one, or three where a decoder writes step by step.

The three have the names, inputs and outputs that optimum gives them: `encoder_model`,
`decoder_model` for the first step, and `decoder_with_past_model` for the others, which reads keys
and values of earlier steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from kdnas.measure.latency import generates
from kdnas.tasks import task_type_of

PARTS = ("encoder", "decoder", "decoder_with_past")
PAST, PRESENT = "past_key_values", "present"

# Names of free axes by their place.
Axes = Mapping[int, str]


class Graph(NamedTuple):
    """A module to trace, with inputs as examples and all names in order."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: Sequence[str]
    axes: Mapping[str, Axes]


def onnx_files(path: Path, *, writes: bool) -> list[Path]:
    """Where the graphs of a model named `path` are: `model.onnx`, or `encoder_model.onnx`, ..."""
    return [path.with_name(f"{part}_{path.name}") for part in PARTS] if writes else [path]


def data_file(graph: Path) -> Path:
    """Where the weights of a graph above 2 GB are, beside its file: `model.onnx.data`."""
    return graph.with_name(f"{graph.name}.data")


def written_files(path: Path, *, writes: bool) -> list[Path]:
    """All files of a model named `path`: its graphs, and weights beside them."""
    graphs = onnx_files(path, writes=writes)
    return [*graphs, *(data for data in map(data_file, graphs) if data.exists())]


def graphs_of(model: PreTrainedModel, names: Sequence[str]) -> list[Graph]:
    """The graphs of a model in evaluation mode, with the named inputs, as `onnx_files` lists them.

    Inputs are int64 (batch, length).
    """
    mask = torch.ones(2, 8, dtype=torch.long)
    mask[1, 5:] = 0
    inputs = {name: torch.zeros_like(mask) for name in names}
    inputs |= {"input_ids": torch.ones_like(mask), "attention_mask": mask}
    free: dict[str, Axes] = {name: {0: "batch", 1: "length"} for name in names}
    if generates(model):
        return _two_stacks(model, inputs, free)
    outputs = task_type_of(model.config, type(model).__name__).onnx_outputs
    module = _Named(model, names, tuple(outputs))
    return [Graph(module, {n: inputs[n] for n in names}, tuple(outputs), {**free, **outputs})]


class _Named(nn.Module):
    """A model with ordered inputs and outputs, as the tracer wants it."""

    def __init__(self, model: nn.Module, names: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names, self.outputs = names, outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.model(**dict(zip(self.names, inputs, strict=True)))
        return tuple(getattr(found, name) for name in self.outputs)


class _Step(nn.Module):
    """A decoder's step behind an encoder: logits, and keys and values, layer by layer.

    Without earlier ones it reads the encoder's states, and gives the keys and values of
    cross-attention, too.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model
        self.width = int(model.get_encoder().config.hidden_size)

    def forward(self, tokens: Tensor, mask: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        first = len(given) == 1
        if first:
            states = given[0]
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        else:
            # Nothing reads them, but for their shape.
            states = mask[:, :, None].float().expand(-1, -1, self.width)
            cache = EncoderDecoderCache([given[i : i + 4] for i in range(0, len(given), 4)])
        found = self.model(
            attention_mask=mask,
            encoder_outputs=BaseModelOutput(states),
            decoder_input_ids=tokens,
            past_key_values=cache,
            use_cache=True,
        )
        kept = [found.logits]
        own, other = cache.self_attention_cache.layers, cache.cross_attention_cache.layers
        for decoder, encoder in zip(own, other, strict=True):
            kept += [decoder.keys, decoder.values]
            kept += [encoder.keys, encoder.values] if first else []
        return tuple(kept)


def cache_names(layers: int) -> list[str]:
    """Keys and values of each layer: its own, and those of what it reads of the encoder."""
    sides = ("decoder", "encoder")
    return [f"{i}.{s}.{k}" for i in range(layers) for s in sides for k in ("key", "value")]


def _two_stacks(
    model: PreTrainedModel, inputs: dict[str, Tensor], free: Mapping[str, Axes]
) -> list[Graph]:
    """Encoder, first step and later steps of a decoder."""
    encoder = _Named(model.get_encoder(), tuple(inputs), ("last_hidden_state",))
    step, mask = _Step(model), inputs["attention_mask"]
    with torch.no_grad():
        [states] = encoder(*inputs.values())
        tokens = torch.ones(2, 3, dtype=torch.long)
        _, *cache = step(tokens, mask, states)
    names = cache_names(len(cache) // 4)
    source: dict[str, Axes] = {
        "encoder_attention_mask": free["attention_mask"],
        "encoder_hidden_states": {0: "batch", 1: "length"},
    }

    def axes(prefix: str, written: str) -> dict[str, Axes]:
        return {
            f"{prefix}.{name}": {0: "batch", 2: written if ".decoder." in name else "length"}
            for name in names
        }

    own = [name for name in names if ".decoder." in name]
    begun: Axes = {0: "batch", 1: "written"}
    first = Graph(
        step,
        {"input_ids": tokens, "encoder_attention_mask": mask, "encoder_hidden_states": states},
        ["logits", *(f"{PRESENT}.{name}" for name in names)],
        {"input_ids": begun, "logits": begun, **source, **axes(PRESENT, "written")},
    )
    past = {f"{PAST}.{name}": value for name, value in zip(names, cache, strict=True)}
    later = Graph(
        step,
        {"input_ids": tokens[:, :1], "encoder_attention_mask": mask, **past},
        ["logits", *(f"{PRESENT}.{name}" for name in own)],
        {
            "input_ids": {0: "batch"},
            "logits": {0: "batch"},
            "encoder_attention_mask": free["attention_mask"],
            **axes(PAST, "written"),
            **{name: one for name, one in axes(PRESENT, "now").items() if ".decoder." in name},
        },
    )
    states_axes = {**free, "last_hidden_state": source["encoder_hidden_states"]}
    return [Graph(encoder, inputs, ["last_hidden_state"], states_axes), first, later]
