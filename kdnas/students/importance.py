"""Which parts of a teacher matter, measured on examples.

After Michel et al. 2019, Are Sixteen Heads Really Better than One?, and Sun et al. 2023, A Simple
and Effective Pruning Approach for Large Language Models (Wanda): what a unit adds is how strongly
its activity varies times the norm of the weights that read it. Of the residual stream, directions
matter rather than dimensions: Ashkboos et al. 2024, SliceGPT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.outputs import (
    OutputRequest,
    calls_on_tokens,
    forward,
    hidden_states,
    real_tokens,
)
from kdnas.runtime.device import Runtime
from kdnas.space.families import Family, family_of

OUTGOING = ("query", "key")
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
        """Reads what `save` wrote."""
        tensors = load_file(file)
        residual = tensors.pop("residual")
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, value in tensors.items():
            part, _, layer = name.partition("/")
            parts[part][layer] = value
        return cls(residual, **parts)


class _Moments:
    """First and second moments of a stream of vectors; the latter of pairs of dimensions, too."""

    def __init__(self, *, pairs: bool = False) -> None:
        self.pairs = pairs
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.product: Tensor | float = 0.0

    def add(self, states: Tensor) -> None:
        states = states.float()
        self.count += len(states)
        self.sum = self.sum + states.sum(0)
        product = states.T @ states if self.pairs else states.square().sum(0)
        self.product = self.product + product

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self.sum).cpu() / self.count

    @property
    def deviation(self) -> Tensor:
        mean_square = torch.as_tensor(self.product).cpu() / self.count
        return (mean_square - self.mean.square()).clamp_min(0).sqrt()

    @property
    def covariance_share(self) -> Tensor:
        """Covariances over the sum of all variances."""
        product = torch.as_tensor(self.product).cpu() / self.count
        covariance = product - torch.outer(self.mean, self.mean)
        return covariance / covariance.trace().clamp_min(1e-12)


@torch.no_grad()
def measure_importance(
    teacher: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime
) -> Importance:
    """Runs the teacher over some batches, a few hundred examples, and records its activations."""
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    modules: dict[tuple[str, str], nn.Module] = {}
    for path, module in teacher.named_modules():
        inside, part = LAYER.match(path), part_of(path, family)
        if inside and part:
            modules[inside[0], part] = module
    moments = {unit: _Moments() for unit in modules}
    residual = [_Moments(pairs=True) for _ in range(int(teacher.config.num_hidden_layers) + 1)]
    request = OutputRequest(hidden_states(range(len(residual))))
    for batch in batches:
        with _watched(teacher, batch, modules, moments), runtime.autocast():
            output = forward(teacher, batch, request)
        for depth, sums in enumerate(residual):
            sums.add(output.hidden(depth))

    def activity(layer: str, part: str) -> Tensor:
        """Deviations; of what a module reads, times the norms of its weights."""
        deviation, module = moments[layer, part].deviation, modules[layer, part]
        if part in OUTGOING:
            return deviation
        assert isinstance(module, nn.Linear)
        norms: Tensor = module.weight.detach().float().norm(dim=0).cpu()
        return deviation * norms

    rows, neurons, means = {}, {}, {}
    for layer in dict.fromkeys(layer for layer, _ in modules):
        scores = activity(layer, "query") * activity(layer, "key")
        values = activity(layer, "context")
        rows[layer] = scores / scores.mean() + values / values.mean()
        neurons[layer] = activity(layer, "neurons")
        means[layer] = moments[layer, "neurons"].mean
    shares = torch.stack([sums.covariance_share for sums in residual])
    return Importance(shares.mean(0), rows, neurons, means)


@contextmanager
def _watched(
    teacher: PreTrainedModel,
    batch: Batch,
    modules: dict[tuple[str, str], nn.Module],
    moments: dict[tuple[str, str], _Moments],
) -> Iterator[None]:
    """Adds what the layers' units do while the context lasts, by layer and part."""
    on_tokens = calls_on_tokens(teacher)

    def add(unit: tuple[str, str], module: nn.Module, args: Any, output: Any = None) -> None:
        if on_tokens(module):
            states = args[0] if output is None else output
            moments[unit].add(real_tokens(teacher, batch, states))

    with ExitStack() as stack:
        for unit, module in modules.items():
            hook: Any = partial(add, unit)
            if unit[1] in OUTGOING:
                stack.callback(module.register_forward_hook(hook).remove)
            else:
                stack.callback(module.register_forward_pre_hook(hook).remove)
        yield


def part_of(path: str, family: Family) -> str | None:
    """What a module of a layer is: query, key, or the reader of context or neurons."""
    names = (*family.heads_out[:2], family.heads_in, family.neurons_out)
    ends = zip(("query", "key", "context", "neurons"), names, strict=True)
    return next((part for part, end in ends if path.endswith("." + end)), None)
