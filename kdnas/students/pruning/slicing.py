"""A pruned model in its two forms: physically smaller, and dense with zeros.

The sliced form has smaller matrices, and layers without heads or neurons skip what they would
compute. The dense form is a plain model of its family in which whatever is pruned, weights and
biases, is exactly zero: plain transformers loads it and it answers the same. The config of both
notes what is kept.
"""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.space.families import is_at
from kdnas.space.pruned import CONFIG_KEY
from kdnas.students.pruning.kept import Kept, check_fits, shape_of
from kdnas.students.pruning.places import Places

# What modules of attention call their number of heads, and the width of all of them.
HEAD_COUNTS, HEAD_WIDTHS = ("num_attention_heads", "n_heads", "num_heads"), ("all_head_size",)
# MPNet's attention gets a bias of each head's from outside; shape (1, heads, length, length).
BIAS_OF_HEADS = "position_bias"


class BiasAlone(nn.Module):
    """A map whose inputs are all pruned: it gives its bias, or zeros, at each token."""

    def __init__(self, bias: nn.Parameter | None, size: int) -> None:
        super().__init__()
        self.size = size
        self.bias = bias

    def forward(self, states: Tensor) -> Tensor:
        bias = states.new_zeros(self.size) if self.bias is None else self.bias
        return bias.expand(*states.shape[:-1], self.size)


class NoNeurons(nn.Module):
    """A map into neurons that are all pruned: it gives none."""

    def forward(self, states: Tensor) -> Tensor:
        return states[..., :0]


class NoHeads(nn.Module):
    """Attention whose heads are all pruned: what is left of the map behind them, if it has it."""

    def __init__(self, name: str, left: nn.Module | None) -> None:
        super().__init__()
        self.name = name
        if left is not None:
            self.add_module(name, left)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        left = dict(self.named_children()).get(self.name)
        return (hidden_states if left is None else left(hidden_states)), None


def is_sliced(model: nn.Module) -> bool:
    """Whether a model is in its sliced form."""
    return bool(getattr(model, "_kdnas_sliced", False))


def sliced(model: PreTrainedModel, kept: Kept | None = None) -> PreTrainedModel:
    """A copy of a model in its sliced form.

    Args:
        model: Dense.
        kept: What to keep; default: what its config notes. A model that notes nothing, and one
            that is sliced, comes back as it is.

    Raises:
        KdnasError: The model cannot be pruned, `kept` does not fit it, or what its config notes as
            pruned is not zero.
    """
    noted = kept or Kept.read(model.config)
    if noted is None or is_sliced(model):
        return model
    if kept is None:
        _check_zeros(model, noted)
    return slice_in_place(copy.deepcopy(model), noted)


def sharing(model: PreTrainedModel, kept: Kept) -> PreTrainedModel:
    """A sliced copy that shares with a dense model all parameters but those that are cut."""
    return slice_in_place(copy.deepcopy(model, {id(p): p for p in model.parameters()}), kept)


@torch.no_grad()
def slice_in_place(model: PreTrainedModel, kept: Kept) -> PreTrainedModel:
    """Turns a dense model into its sliced form, and notes in its config what is kept.

    Raises:
        KdnasError: The model cannot be pruned, or `kept` does not fit it.
    """
    teacher = shape_of(model.config)
    check_fits(kept.architecture(teacher), teacher)
    if not kept.within(teacher):
        raise KdnasError(
            f"what is kept does not fit the teacher, {teacher.label}: expected numbers of heads "
            "and neurons that it has, each once"
        )
    places = Places(model.config, kept)
    for name, (axis, rows) in places.of_all(dict(model.named_parameters())).items():
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        whole: nn.Parameter = getattr(module, attribute)
        part = whole.detach().index_select(axis, rows.to(whole.device)).contiguous()
        setattr(module, attribute, nn.Parameter(part, requires_grad=whole.requires_grad))
        if isinstance(module, nn.Linear) and attribute == "weight":
            module.out_features, module.in_features = part.shape
    for path, number in dict.fromkeys(
        layer for name, _ in model.named_modules() if (layer := places.family.layer_of(name))
    ):
        _fit_layer(model.get_submodule(path), places, number)
    kept.write(model.config)
    model._kdnas_sliced = True
    return model


@torch.no_grad()
def dense(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a sliced model in its dense form; a model that is not sliced as it is.

    All that is pruned is zero.
    """
    kept = Kept.read(model.config)
    if kept is None or not is_sliced(model):
        return model
    with torch.random.fork_rng(devices=[]):
        whole = type(model)(copy.deepcopy(model.config))
    whole.to(model.device, model.dtype)  # type: ignore[call-overload]
    ours, theirs = model.state_dict(), whole.state_dict()
    places = Places(model.config, kept).of_all(theirs)
    for name, value in theirs.items():
        if name not in places:
            value.copy_(ours[name])
            continue
        axis, rows = places[name]
        value.zero_()
        if len(rows):
            value.index_copy_(axis, rows.to(value.device), ours[name])
    whole.train(model.training)
    return whole


def _check_zeros(model: PreTrainedModel, kept: Kept) -> None:
    """Raises KdnasError where a model has other weights than its config says."""
    tensors = model.state_dict()
    for name, (axis, rows) in Places(model.config, kept).of_all(tensors).items():
        value = tensors[name]
        if value.index_select(axis, _others(rows, value.shape[axis]).to(value.device)).any():
            raise KdnasError(
                f"{name} is not zero where the config's {CONFIG_KEY} says that it is pruned; take "
                f"{CONFIG_KEY} out of config.json to use the model as it is"
            )


def _others(rows: Tensor, size: int) -> Tensor:
    """The numbers below `size` that are not among `rows`."""
    left = torch.ones(size, dtype=torch.bool)
    left[rows.cpu()] = False
    return left.nonzero().flatten().to(rows.device)


def _fit_layer(layer: nn.Module, places: Places, number: int) -> None:
    """Makes the modules of a layer agree with the heads and neurons that it has left."""
    of, size = places.family, places.teacher.hidden_size
    paths = [path for path, _ in layer.named_modules()]
    behind_heads = next(path for path in paths if is_at(path, of.heads_in))
    query = next(path for path in paths if is_at(path, of.heads_out[0]))
    attention, heads = query.rpartition(".")[0], places.kept.heads[number]
    if not places.kept.neurons[number]:
        for path in paths:
            if any(is_at(path, end) for end in of.neurons_in):
                layer.set_submodule(path, NoNeurons())
            elif is_at(path, of.neurons_out) and path != behind_heads:
                layer.set_submodule(path, _bias_of(layer.get_submodule(path), size))
    if heads:
        _count_heads(layer.get_submodule(attention), places, heads)
        return
    left = _bias_of(layer.get_submodule(behind_heads), size)
    inside = behind_heads.startswith(f"{attention}.")
    if not inside:
        layer.set_submodule(behind_heads, left)
    name = behind_heads.rpartition(".")[2]
    layer.set_submodule(attention, NoHeads(name, left if inside else None))


def _bias_of(module: nn.Module, size: int) -> BiasAlone:
    bias = getattr(module, "bias", None)
    assert bias is None or isinstance(bias, nn.Parameter)
    return BiasAlone(bias, size)


def _count_heads(attention: nn.Module, places: Places, heads: tuple[int, ...]) -> None:
    """Tells the attention of a layer how many heads it has, and which, where it has to know."""
    whole = places.teacher.num_attention_heads
    if len(heads) == whole:
        return
    for name in HEAD_COUNTS:
        if hasattr(attention, name):
            setattr(attention, name, len(heads))
    for name in HEAD_WIDTHS:
        if hasattr(attention, name):
            setattr(attention, name, len(heads) * places.head_size)
    taken = tuple(inspect.signature(attention.forward).parameters)
    if BIAS_OF_HEADS in taken:
        chosen = partial(_own_bias, names=taken, heads=heads)
        attention.register_forward_pre_hook(chosen, with_kwargs=True)


def _own_bias(
    _: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    names: tuple[str, ...],
    heads: tuple[int, ...],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What attention is called with, the bias being that of its heads."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    bias = given[BIAS_OF_HEADS]
    if bias is not None:
        given[BIAS_OF_HEADS] = bias.index_select(1, torch.tensor(heads, device=bias.device))
    return (), given
