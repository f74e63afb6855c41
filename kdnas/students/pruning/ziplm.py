"""ZipLM on a teacher: the removal of heads and neurons that its outputs miss least.

Each layer's maps behind heads and behind neurons are treated alone, with the inputs that the whole
teacher gives them on training rows. Where a map has a bias, it takes part in making up for what is
gone: its input is 1 at every token.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.distillation.forward import forward
from kdnas.distillation.modules import real_tokens
from kdnas.distillation.outputs import OutputRequest, hidden_states
from kdnas.errors import KdnasError
from kdnas.runtime.console import progress
from kdnas.runtime.device import Runtime
from kdnas.runtime.working_time import working_seconds
from kdnas.space import Architecture, PrunedArchitecture
from kdnas.students.pruning.kept import Kept, check_fits, shape_of
from kdnas.students.pruning.levels import choose_levels
from kdnas.students.pruning.order import Damage
from kdnas.students.pruning.scores import (
    KINDS,
    NEURON_MULTIPLE,
    Unit,
    check_sparsity,
    unit_maps,
    unit_weights,
)
from kdnas.students.pruning.slicing import slice_in_place
from kdnas.students.pruning.surgery import Removal, best_weight, damped, removal_order
from kdnas.teachers.distillation_data import FEW_BATCHES

# Neurons of the two layers that tell how fast a machine removes them.
SMALLER = (128, 1024)


@dataclass(frozen=True)
class Block:
    """A map that reads heads or neurons.

    Attributes:
        path: Of the map, in the model.
        size: Columns of each head or neuron.
        hessian: Shape (inputs, inputs), float32, with one more where the map has a bias.
        removal: The order in which its heads or neurons go.
    """

    path: str
    size: int
    hessian: Tensor
    removal: Removal

    def columns(self, units: Iterable[int]) -> Tensor:
        """The columns of some heads or neurons, and the bias."""
        starts = torch.tensor(list(units), dtype=torch.long)[:, None] * self.size
        own = (starts + torch.arange(self.size)).flatten()
        inputs = len(self.removal.order) * self.size
        return torch.cat([own, torch.arange(inputs, len(self.hessian))])


@dataclass(frozen=True)
class SurgeryOrder:
    """A teacher with what its layers lose least, first; what is left makes up for it."""

    teacher: PreTrainedModel
    blocks: dict[Unit, Block]

    def damage(self) -> Damage:
        """The squared error of a block's outputs, over that of the block without any input."""
        layers = sorted({layer for layer, _ in self.blocks})
        parts = ([self.blocks[layer, kind].removal.damage for layer in layers] for kind in KINDS)
        return Damage(*map(torch.stack, parts))

    def kept(self, counts: PrunedArchitecture) -> Kept:
        """What is left last, as many as counted."""
        return Kept.of(
            *(
                [self.blocks[layer, kind].removal.kept(n) for layer, n in enumerate(left)]
                for kind, left in (
                    ("heads", counts.num_attention_heads),
                    ("neurons", counts.intermediate_size),
                )
            )
        )

    def at_sparsity(self, sparsity: float) -> PrunedArchitecture:
        """A share of the weights of heads and neurons, all layers together; what loses least.

        One head stays in any case: without any, no token knows of another.
        """
        check_sparsity(sparsity)
        shape, damage = shape_of(self.teacher.config), self.damage()
        depth, heads = shape.num_hidden_layers, shape.num_attention_heads
        if not sparsity:
            return PrunedArchitecture.whole(shape)
        weights = unit_weights(self.teacher)
        levels = range(heads + 1), [*range(0, shape.intermediate_size, NEURON_MULTIPLE)]
        levels[1].append(shape.intermediate_size)
        parts = list(zip((damage.heads, damage.neurons), levels, KINDS, strict=True))
        damages = [part[i, list(n)].double().numpy() for part, n, _ in parts for i in range(depth)]
        costs = [np.array(n) * float(weights[kind]) for _, n, kind in parts for _ in range(depth)]
        budget = (1 - sparsity) * sum(float(cost[-1]) for cost in costs)
        budget = max(budget, float(weights["heads"]))
        chosen = choose_levels(damages, costs, budget, some_of=range(depth))
        assert chosen is not None, "there is room for one head"
        neurons = [levels[1][level] for level in chosen[depth:]]
        return PrunedArchitecture.of(shape, chosen[:depth], neurons)

    def save(self, file: Path) -> None:
        """See `PruningOrder`."""
        tensors, notes = dict[str, Tensor](), dict[str, str]()
        for (layer, kind), block in self.blocks.items():
            name = f"{layer} {kind}"
            notes[name] = json.dumps([block.path, block.size])
            tensors[f"{name} hessian"] = block.hessian.contiguous()
            tensors[f"{name} order"] = block.removal.order.contiguous()
            tensors[f"{name} costs"] = block.removal.costs.contiguous()
        save_file(tensors, file, notes)

    @classmethod
    def load(cls, file: Path, teacher: PreTrainedModel) -> SurgeryOrder:
        """What `save` wrote, of the same teacher."""
        blocks = {}
        with safe_open(file, "pt") as kept:
            for name, noted in kept.metadata().items():
                layer, kind = name.split()
                path, size = json.loads(noted)
                order, costs = (kept.get_tensor(f"{name} {part}") for part in ("order", "costs"))
                hessian = kept.get_tensor(f"{name} hessian")
                blocks[int(layer), kind] = Block(path, size, hessian, Removal(order, costs))
        return cls(teacher, dict(sorted(blocks.items())))

    @torch.no_grad()
    def student(self, counts: PrunedArchitecture) -> PreTrainedModel:
        """See `PruningOrder`."""
        check_fits(counts, shape_of(self.teacher.config))
        kept, model = self.kept(counts), copy.deepcopy(self.teacher)
        for (layer, kind), block in self.blocks.items():
            units = (kept.heads if kind == "heads" else kept.neurons)[layer]
            if len(units) == len(block.removal.order):
                continue
            module = model.get_submodule(block.path)
            assert isinstance(module, nn.Linear)
            columns = block.columns(units)
            solved = best_weight(_with_bias(module).cpu(), block.hessian, columns)
            inputs = module.in_features
            whole = torch.zeros(module.out_features, len(block.hessian), dtype=torch.double)
            whole[:, columns] = solved
            module.weight.copy_(whole[:, :inputs])
            if module.bias is not None:
                module.bias.copy_(whole[:, inputs])
        return slice_in_place(model, kept)


@torch.no_grad()
def surgery_order(
    teacher: PreTrainedModel, batches: Iterable[Batch], runtime: Runtime, seed: int = 0
) -> SurgeryOrder:
    """ZipLM's order.

    Args:
        teacher: In evaluation mode; it and the batches are on the runtime's device.
        batches: Of training rows; labels are not read.
        runtime: Its device solves the matrices, in float64, unless it lacks that.
        seed: Not used; nothing is random.

    Raises:
        KdnasError: The teacher cannot be pruned, or there are no rows.
    """
    shape, products = shape_of(teacher.config), dict[str, Tensor]()
    units = unit_maps(teacher)
    for batch in batches:
        with _products(teacher, batch, list(units), products):
            forward(teacher, batch, OutputRequest(hidden_states([shape.num_hidden_layers])))
    if not products:
        raise KdnasError("ZipLM needs rows; give training rows")
    solver = runtime.device if runtime.device.type in ("cpu", "cuda") else torch.device("cpu")
    blocks = {}
    with progress("importance", len(units)) as advance:
        for path, unit in units.items():
            module, heads = teacher.get_submodule(path), unit[1] == "heads"
            count = shape.num_attention_heads if heads else shape.intermediate_size
            size = module.in_features // count
            hessian = damped(products.pop(path).to(solver), inputs=count * size)  # the bias apart
            structures = torch.arange(count * size, device=solver).view(count, size)
            weight = _with_bias(module).to(solver)
            removal = removal_order(weight, hessian, structures)
            blocks[unit] = Block(path, size, hessian.float().cpu(), removal)
            advance("")
    return SurgeryOrder(teacher, blocks)


def surgery_seconds(teacher: Architecture, step: float) -> float:
    """What `surgery_order` should take, from two smaller layers whose neurons are removed now.

    Each removal takes a while however few neurons there are, and changes a matrix of neurons by
    neurons and one of outputs by neurons.

    Args:
        teacher: The shape.
        step: Seconds of a step of training it; reading a batch takes a third of it.
    """
    whole, outputs = teacher.intermediate_size, teacher.hidden_size

    def arithmetic(size: int) -> float:
        return float(size**2 * (size + outputs))

    small, large = (min(size, whole) for size in SMALLER)
    each = _seconds_of_removals(small, outputs) / small
    products = max(0.0, _seconds_of_removals(large, outputs) - each * large)
    seconds = each * whole + products * arithmetic(whole) / arithmetic(large)
    return teacher.num_hidden_layers * seconds + FEW_BATCHES * step / 3


def _seconds_of_removals(size: int, outputs: int) -> float:
    """What it takes to remove all neurons of a layer."""
    hessian, weight = torch.eye(size, dtype=torch.double), torch.ones(outputs, size)
    start = working_seconds()
    removal_order(weight, hessian, torch.arange(size)[:, None])
    return working_seconds() - start


@contextmanager
def _products(
    teacher: PreTrainedModel, batch: Batch, paths: Iterable[str], sums: dict[str, Tensor]
) -> Iterator[None]:
    """Adds `X X^T` of what maps read while the context lasts; X has a row of 1 for a bias."""

    def add(path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        states = real_tokens(teacher, batch, args[0]).float()
        if module.bias is not None:
            states = torch.cat([states, states.new_ones(len(states), 1)], 1)
        product = (states.T @ states).double() if states.device.type != "mps" else states.T @ states
        sums[path] = sums[path] + product if path in sums else product

    with ExitStack() as stack:
        for path in paths:
            module = teacher.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(partial(add, path)).remove)
        yield


def _with_bias(module: nn.Module) -> Tensor:
    """A map's weights, and its bias as one more column."""
    assert isinstance(module, nn.Linear)
    weight = module.weight.detach()
    return weight if module.bias is None else torch.cat([weight, module.bias.detach()[:, None]], 1)
