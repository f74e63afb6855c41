"""Which parts of a teacher matter, measured on examples.

After Michel et al. 2019, Are Sixteen Heads Really Better than One?, and Sun et al. 2023, A Simple
and Effective Pruning Approach for Large Language Models (Wanda): what a unit adds is how strongly
its activity varies times the norm of the weights that read it. Of the residual stream, directions
matter rather than dimensions: Ashkboos et al. 2024, SliceGPT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.heads import calls_on_tokens, split_units
from kdnas.distillation.modules import family, real_tokens
from kdnas.distillation.outputs import OutputRequest, State, hidden_states
from kdnas.distillation.precision import working_precision
from kdnas.runtime.device import Runtime
from kdnas.space.families import SIDES, UNITS, Family, Place, Unit, is_at
from kdnas.students.roles import CROSS, layer_at

Part = Literal["query", "key", "context", "neurons"]
PARTS = ("rows", "neurons", "neuron_means")


@dataclass(frozen=True)
class Importance:
    """How much each part of a teacher matters.

    Attributes:
        residual: Shape (hidden size, hidden size): covariance of the residual stream's dimensions,
            each layer's as a share of its variance, averaged over layers.
        rows: By layer, shape (width of all heads,): of the attention's rows, head after head; those
            of a decoder's cross-attention under the layer's path with `/cross` behind.
        neurons: By layer, shape (intermediate size,): of the feed-forward neurons.
        neuron_means: By layer, shape (intermediate size,): their mean activations.
        decoder_residual: As `residual`, which is then the encoder's; None without a decoder.
    """

    residual: Tensor
    rows: dict[str, Tensor]
    neurons: dict[str, Tensor]
    neuron_means: dict[str, Tensor]
    decoder_residual: Tensor | None = None

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Of `residual`: eigenvalues, ascending, and eigenvectors as columns, float64."""
        return spectrum_of(self.residual)

    @property
    def residuals(self) -> tuple[Tensor, ...]:
        """Of each stack."""
        both = (self.residual, self.decoder_residual)
        return tuple(residual for residual in both if residual is not None)

    def save(self, file: Path) -> None:
        """Writes a safetensors file."""
        tensors = {"residual": self.residual}
        if self.decoder_residual is not None:
            tensors["decoder_residual"] = self.decoder_residual
        for part in PARTS:
            tensors |= {f"{part}/{layer}": v for layer, v in getattr(self, part).items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, file)

    @classmethod
    def load(cls, file: Path) -> Importance:
        """Reads what `save` wrote."""
        tensors = load_file(file)
        residual, decoders = tensors.pop("residual"), tensors.pop("decoder_residual", None)
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, value in tensors.items():
            part, _, layer = name.partition("/")
            parts[part][layer] = value
        return cls(residual, **parts, decoder_residual=decoders)


def spectrum_of(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors as columns, float64."""
    variances, directions = torch.linalg.eigh(covariance.double())
    return variances, directions


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
    found = family(teacher)
    modules: dict[str, nn.Module] = {}
    for path, module in teacher.named_modules():
        if layer_at(found, path) and parts_of(path, found):
            modules[path] = module
    units = {(_block(found, p), part): p for p in modules for part in parts_of(p, found)}
    moments = {unit: _Moments() for unit in units}
    depths: dict[Place, int] = {
        side: int(stack.read(teacher.config, "num_hidden_layers"))
        for side, stack in zip(SIDES, found.stacks, strict=False)
    }
    request = OutputRequest(
        frozenset().union(*(hidden_states(range(d + 1), side) for side, d in depths.items()))
    )
    residual = {state: _Moments(pairs=True) for state in sorted(request.states)}
    with working_precision(teacher, runtime, frozen=True):
        for batch in batches:
            with _watched(teacher, batch, modules, moments), runtime.autocast():
                output = forward(teacher, batch, request)
            for state, sums in residual.items():
                sums.add(output.states[state])

    def activity(layer: str, part: Part) -> Tensor:
        """Deviations; of what a module reads, times the norms of its weights."""
        deviation, module = moments[layer, part].deviation, modules[units[layer, part]]
        if part in UNITS:
            return deviation
        assert isinstance(module, nn.Linear)
        norms: Tensor = module.weight.detach().float().norm(dim=0).cpu()
        return deviation * norms

    rows, neurons, means = {}, {}, {}
    for layer in dict.fromkeys(layer for layer, _ in units):
        scores = activity(layer, "query") * activity(layer, "key")
        values = activity(layer, "context")
        rows[layer] = scores / scores.mean() + values / values.mean()
        if layer.endswith(CROSS):
            continue
        neurons[layer] = activity(layer, "neurons")
        means[layer] = moments[layer, "neurons"].mean
    shares: dict[str, list[Tensor]] = {side: [] for side in depths}
    for state, sums in residual.items():
        shares[state.place].append(sums.covariance_share)
    encoder, *decoder = (torch.stack(share).mean(0) for share in shares.values())
    return Importance(encoder, rows, neurons, means, *decoder)


@contextmanager
def _watched(
    teacher: PreTrainedModel,
    batch: Batch,
    modules: dict[str, nn.Module],
    moments: dict[tuple[str, Part], _Moments],
) -> Iterator[None]:
    """Adds what the layers' units do while the context lasts, by layer and part."""
    on_tokens, of = calls_on_tokens(teacher), family(teacher)

    def gives(path: str, module: nn.Module, _: Any, output: Tensor) -> None:
        if on_tokens(module):
            at = of.attention_at(path)
            assert at
            for unit, states in split_units(teacher, path, output).items():
                if unit != "value":
                    decoders = State(unit, 0, at[0]).of_decoder
                    tokens = real_tokens(teacher, batch, states, of_decoder=decoders)
                    moments[_block(of, path), unit].add(tokens)

    def gets(path: str, module: nn.Module, args: Any) -> None:
        if on_tokens(module):
            (part,) = parts_of(path, of)
            decoders = of.stack_of(path) is of.decoder
            tokens = real_tokens(teacher, batch, args[0], of_decoder=decoders)
            moments[_block(of, path), part].add(tokens)

    with ExitStack() as stack:
        for path, module in modules.items():
            if _gives(path, of):
                stack.callback(module.register_forward_hook(partial(gives, path)).remove)
            else:
                stack.callback(module.register_forward_pre_hook(partial(gets, path)).remove)
        yield


def parts_of(path: str, of: Family) -> tuple[Part, ...]:
    """What a module of a layer is: it gives queries and keys, or reads context or neurons."""
    if units := _gives(path, of):
        return tuple(unit for unit in units if unit != "value")
    if of.attention_at(path):
        return ("context",)
    return ("neurons",) if is_at(path, of.stack_of(path).neurons_out) else ()


def _gives(path: str, of: Family) -> tuple[Unit, ...]:
    at = of.attention_at(path)
    return at[1].units_of(path) if at else ()


def _block(of: Family, path: str) -> str:
    """The key of what a module does in `Importance`."""
    layer, at = layer_at(of, path), of.attention_at(path)
    assert layer, path
    return layer + CROSS if at and at[0] == "cross" else layer
