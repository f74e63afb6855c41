"""Which parts of a teacher matter, measured on examples.

After Michel et al. 2019, Are Sixteen Heads Really Better than One?, and Sun et al. 2023, A Simple
and Effective Pruning Approach for Large Language Models (Wanda): what a unit adds is how strongly
its activity varies times the norm of the weights that read it. Of the residual stream, directions
matter rather than dimensions: Ashkboos et al. 2024, SliceGPT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import calls_on_tokens, forward, real_tokens
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.runtime.device import Runtime
from kdnas.space.families import Family, family_of

PARTS = ("rows", "neurons", "neuron_means")
LAYER = re.compile(r".*?\.(layer|albert_layers)\.\d+")


@dataclass(frozen=True)
class Importance:
    """How much each part of a teacher matters.

    Attributes:
        residual: Shape (hidden size, hidden size): covariance of the residual stream's dimensions,
            each layer's as a share of its variance, averaged over layers.
        rows: By layer, shape (hidden size,): of the attention's rows, head after head.
        neurons: By layer, shape (intermediate size,): of the feed-forward neurons.
        neuron_means: By layer, shape (intermediate size,): their mean activations.
    """

    residual: Tensor
    rows: dict[str, Tensor]
    neurons: dict[str, Tensor]
    neuron_means: dict[str, Tensor]

    def save(self, file: Path) -> None:
        """Writes a safetensors file."""
        tensors = {"residual": self.residual}
        for part in PARTS:
            tensors |= {f"{part}/{layer}": v for layer, v in getattr(self, part).items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, file)

    @classmethod
    def load(cls, file: Path) -> Importance:
        """Reads what `save` wrote.

        Raises:
            OSError: There is no such file.
            SafetensorError: It is damaged.
        """
        tensors = load_file(file)
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, value in tensors.items():
            part, _, layer = name.partition("/")
            if layer:
                parts[part][layer] = value
        return cls(tensors["residual"], **parts)


class _Moments:
    """Mean and spread of a stream of vectors."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def add(self, states: Tensor) -> None:
        states = states.float()
        self.count += len(states)
        self.sum = self.sum + states.sum(0)
        self.square = self.square + states.square().sum(0)

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self.sum).cpu() / self.count

    @property
    def deviation(self) -> Tensor:
        mean_square = torch.as_tensor(self.square).cpu() / self.count
        return (mean_square - self.mean.square()).clamp_min(0).sqrt()


class _Covariance:
    """How the dimensions of a stream of vectors vary together."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.product: Tensor | float = 0.0

    def add(self, states: Tensor) -> None:
        states = states.float()
        self.count += len(states)
        self.sum = self.sum + states.sum(0)
        self.product = self.product + states.T @ states

    @property
    def share(self) -> Tensor:
        """Covariances over the sum of all variances."""
        mean = torch.as_tensor(self.sum).cpu() / self.count
        covariance = torch.as_tensor(self.product).cpu() / self.count - torch.outer(mean, mean)
        return covariance / covariance.trace().clamp_min(1e-12)


@torch.no_grad()
def measure_importance(
    teacher: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime
) -> Importance:
    """Runs the teacher over some batches and records its activations.

    Args:
        teacher: In evaluation mode, on the batches' device.
        batches: A few hundred examples are enough.
        runtime: Gives the precision.
    """
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    moments: dict[tuple[str, str], _Moments] = {}
    residual = [_Covariance() for _ in range(int(teacher.config.num_hidden_layers) + 1)]
    request = OutputRequest(hidden_states(range(len(residual))))
    for batch in batches:
        with _watched(teacher, family, batch, moments), runtime.autocast():
            output = forward(teacher, batch, request)
        for depth, sums in enumerate(residual):
            sums.add(output.hidden(depth))
    rows, neurons, means = {}, {}, {}
    for layer in {layer for layer, _ in moments}:
        part = {name: moments[layer, name] for name in ("query", "key", "context", "neurons")}
        out, down = (_weights(teacher, layer, family, name) for name in ("context", "neurons"))
        scores = part["query"].deviation * part["key"].deviation
        values = part["context"].deviation * out
        rows[layer] = scores / scores.mean() + values / values.mean()
        neurons[layer] = part["neurons"].deviation * down
        means[layer] = part["neurons"].mean
    shares = torch.stack([sums.share for sums in residual])
    return Importance(shares.mean(0), rows, neurons, means)


@contextmanager
def _watched(
    teacher: PreTrainedModel,
    family: Family,
    batch: Batch,
    moments: dict[tuple[str, str], _Moments],
) -> Iterator[None]:
    on_tokens = calls_on_tokens(teacher)

    def note(module: nn.Module, layer: str, name: str, states: Tensor) -> None:
        if on_tokens(module):
            tokens = real_tokens(teacher, batch, states)
            moments.setdefault((layer, name), _Moments()).add(tokens)

    def outgoing(layer: str, name: str) -> Any:
        return lambda module, args, output: note(module, layer, name, output)

    def incoming(layer: str, name: str) -> Any:
        return lambda module, args: note(module, layer, name, args[0])

    hooks = []
    for path, module in teacher.named_modules():
        layer = LAYER.match(path)
        part = part_of(path, family)
        if layer is None or part is None:
            continue
        if part in ("query", "key"):
            hooks.append(module.register_forward_hook(outgoing(layer[0], part)))
        else:
            hooks.append(module.register_forward_pre_hook(incoming(layer[0], part)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def part_of(path: str, family: Family) -> str | None:
    """What a module of a layer is: query, key, or the reader of context or neurons."""
    ends = {
        "query": family.heads_out[0],
        "key": family.heads_out[1],
        "context": family.heads_in,
        "neurons": family.neurons_out,
    }
    return next((part for part, end in ends.items() if path.endswith("." + end)), None)


def _weights(teacher: PreTrainedModel, layer: str, family: Family, part: str) -> Tensor:
    """Norms of the weights that read each unit."""
    for path, module in teacher.named_modules():
        if path.startswith(layer + ".") and part_of(path, family) == part:
            assert isinstance(module, nn.Linear)
            norms: Tensor = module.weight.detach().float().norm(dim=0).cpu()
            return norms
    raise AssertionError(f"{layer} has no {part}")
