"""How much each head and each feed-forward neuron of a teacher matters, as one number each.

After Michel et al. 2019, Are Sixteen Heads Really Better than One?, in the form of Zhang et al.
2022, MiniDisc: how strongly the task's loss, on training rows, depends on a factor 1 behind each.
Magnitudes of weights and random numbers are the controls.
"""

from __future__ import annotations

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
from kdnas.distillation.forward import forward
from kdnas.distillation.losses.logits import TaskLoss
from kdnas.distillation.outputs import ModelOutputs
from kdnas.errors import KdnasError
from kdnas.runtime.device import Runtime
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.space.families import is_at
from kdnas.students.pruning.kept import Kept, prunable_family, shape_of
from kdnas.students.roles import is_by_head, role_of

NEURON_MULTIPLE = 8
KINDS = ("heads", "neurons")
Unit = tuple[int, str]  # a layer, from 0, and one of the kinds
Sums = dict[Unit, Any]


@dataclass(frozen=True)
class Scores:
    """Of each head, shape (layers, heads), and of each neuron, shape (layers, neurons)."""

    heads: Tensor
    neurons: Tensor

    def at_sparsity(self, sparsity: float, teacher: Architecture) -> PrunedArchitecture:
        """What is left once the lowest share of all layers' heads, and of their neurons, is gone.

        Heads and neurons are ranked apart. Each layer's neurons are rounded to a multiple of 8; a
        layer that keeps fewer than 4 keeps none. The best head of all stays in any case: without
        any, no token knows of another.

        Raises:
            KdnasError: The sparsity is not from 0 up to, but not including, 1.
        """
        check_sparsity(sparsity)
        heads, neurons = (_left(scores, sparsity) for scores in (self.heads, self.neurons))
        if not any(heads):
            heads[int(self.heads.max(dim=1).values.argmax())] = 1
        rounded = [rounded_neurons(n, teacher.intermediate_size) for n in neurons]
        return PrunedArchitecture.of(teacher, heads, rounded)

    def kept(self, counts: PrunedArchitecture) -> Kept:
        """In each layer the highest, as many as counted; of equals, those with higher numbers."""
        both = (self.heads, counts.num_attention_heads), (self.neurons, counts.intermediate_size)
        return Kept.of(
            *(
                [
                    scores.argsort(stable=True)[len(scores) - count :].tolist()
                    for scores, count in zip(part, left, strict=True)
                ]
                for part, left in both
            )
        )

    def save(self, file: Path) -> None:
        """Writes a safetensors file."""
        save_file({"heads": self.heads.contiguous(), "neurons": self.neurons.contiguous()}, file)

    @classmethod
    def load(cls, file: Path) -> Scores:
        """Reads what `save` wrote."""
        return cls(**load_file(file))


def check_sparsity(sparsity: float) -> None:
    """Refuses a share of heads and neurons that leaves nothing, or is none.

    Raises:
        KdnasError: It is not from 0 up to, but not including, 1.
    """
    if not 0 <= sparsity < 1:
        raise KdnasError(
            f"invalid sparsity {sparsity:g}: expected a share from 0, the whole teacher, to below 1"
        )


def rounded_neurons(count: int, size: int) -> int:
    """The nearest multiple of 8, a half up, but no more than there are; all where none is gone."""
    if count == size:
        return size
    return min(size, (count + NEURON_MULTIPLE // 2) // NEURON_MULTIPLE * NEURON_MULTIPLE)


def normalised(scores: Tensor) -> Tensor:
    """Each row, a layer's scores, over its L2 norm; rows of zeros stay."""
    norms: Tensor = scores.norm(dim=1, keepdim=True)
    return scores / torch.where(norms > 0, norms, 1)


def gradient_scores(
    model: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime, seed: int = 0
) -> Scores:
    """Sums over batches of |d loss / d factor|, normalised in each layer.

    Args:
        model: With a head, in evaluation mode; it and the batches are on the runtime's device.
        batches: Of labelled training rows.
        runtime: Gradients are computed in full precision whatever its own.
        seed: Not used; nothing is random.

    Raises:
        KdnasError: The model cannot be pruned, or there are no labelled rows.
    """
    sums: Sums = {}
    for batch in batches:
        if batch.labels is None:
            raise KdnasError("importance by gradients needs labels; give training rows")
        with _multiplied(model, runtime) as factors:
            output = forward(model, batch, TaskLoss().of_student)
            loss = TaskLoss().loss(output, batch, ModelOutputs())
        gradients = torch.autograd.grad(loss, list(factors.values()))
        for unit, gradient in zip(factors, gradients, strict=True):
            sums[unit] = sums.get(unit, 0.0) + gradient.abs().cpu()
    if not sums:
        raise KdnasError("importance by gradients needs rows; give training rows")
    return Scores(*(normalised(_table(sums, kind)) for kind in KINDS))


def magnitude_scores(
    model: PreTrainedModel, batches: Iterable[Batch] = (), runtime: Any = None, seed: int = 0
) -> Scores:
    """L2 norms of all weights around each head and each neuron, normalised in each layer.

    Raises:
        KdnasError: The model cannot be pruned.
    """
    family, shape = prunable_family(model.config), shape_of(model.config)
    counts = {"heads": shape.num_attention_heads, "neurons": shape.intermediate_size}
    sums: Sums = {}
    for name, value in model.state_dict().items():
        layer = family.layer_of(name)
        role = role_of(family, name, len(value), shape.intermediate_size) if layer else None
        if layer is None or role is None:
            continue
        kinds, axis = role
        unit: Unit = (layer[1], "neurons" if kinds[0] == "neurons" else "heads")
        rows = value.float().cpu().movedim(axis, 0).square().reshape(value.shape[axis], -1).sum(1)
        # Of a map that makes several, each head or neuron has a part in all.
        parts = [rows] if is_by_head(family, kinds) else rows.chunk(len(kinds))
        for part in parts:
            sums[unit] = sums.get(unit, 0.0) + part.view(counts[unit[1]], -1).sum(1)
    return Scores(*(normalised(_table(sums, kind).sqrt()) for kind in KINDS))


def random_scores(
    model: PreTrainedModel, batches: Iterable[Batch] = (), runtime: Any = None, seed: int = 0
) -> Scores:
    """Random numbers, the same for the same seed; 0 for what a pruned model has lost already."""
    shape, generator = shape_of(model.config), torch.Generator().manual_seed(seed)
    prunable_family(model.config)
    sizes = shape.num_attention_heads, shape.intermediate_size
    drawn = [torch.rand(shape.num_hidden_layers, n, generator=generator) for n in sizes]
    if kept := Kept.read(model.config):
        for scores, left in zip(drawn, (kept.heads, kept.neurons), strict=True):
            for own, numbers in zip(scores, left, strict=True):
                own[[i for i in range(len(own)) if i not in set(numbers)]] = 0
    return Scores(*drawn)


def unit_maps(model: PreTrainedModel) -> dict[str, Unit]:
    """By path, the maps that read heads or neurons: their layer, from 0, and which they read.

    Raises:
        KdnasError: The model cannot be pruned.
    """
    family, found = prunable_family(model.config), dict[str, Unit]()
    for path, module in model.named_modules():
        layer = family.layer_of(path)
        if layer is None or not isinstance(module, nn.Linear):
            continue
        if is_at(path, family.heads_in):
            found[path] = layer[1], "heads"
        elif is_at(path, family.neurons_out):
            found[path] = layer[1], "neurons"
    return found


def unit_weights(model: PreTrainedModel) -> dict[str, int]:
    """How many weights and biases of a layer belong to one of its heads, and to one neuron."""
    family, shape = prunable_family(model.config), shape_of(model.config)
    counts = {"heads": shape.num_attention_heads, "neurons": shape.intermediate_size}
    sizes = dict.fromkeys(counts, 0)
    for name, value in model.state_dict().items():
        layer = family.layer_of(name)
        role = role_of(family, name, len(value), shape.intermediate_size) if layer else None
        if role is not None:
            sizes["neurons" if role[0][0] == "neurons" else "heads"] += value.numel()
    return {kind: sizes[kind] // n // shape.num_hidden_layers for kind, n in counts.items()}


@contextmanager
def _multiplied(model: PreTrainedModel, runtime: Runtime) -> Iterator[dict[Unit, Tensor]]:
    """Factors 1 behind all heads and neurons while the context lasts."""
    shape, factors = shape_of(model.config), dict[Unit, Tensor]()
    widths = {
        "heads": (shape.num_attention_heads, shape.head_size),
        "neurons": (shape.intermediate_size, 1),
    }

    def multiply(unit: Unit, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        factor = factors[unit].repeat_interleave(widths[unit[1]][1])
        return (args[0] * factor, *args[1:])

    with ExitStack() as stack:
        for path, unit in unit_maps(model).items():
            count = widths[unit[1]][0]
            factors[unit] = torch.ones(count, device=runtime.device, requires_grad=True)
            hook = model.get_submodule(path).register_forward_pre_hook(partial(multiply, unit))
            stack.callback(hook.remove)
        yield factors


def _table(sums: Sums, kind: str) -> Tensor:
    """The values of one kind, shape (layers, heads or neurons)."""
    return torch.stack([sums[unit] for unit in sorted(sums) if unit[1] == kind])


def _left(scores: Tensor, sparsity: float) -> list[int]:
    """How many each row keeps once the lowest share of all is gone; of equals, the first go."""
    left = torch.ones(scores.numel())
    left[scores.flatten().argsort(stable=True)[: round(sparsity * scores.numel())]] = 0
    return [int(n) for n in left.view_as(scores).sum(1)]
