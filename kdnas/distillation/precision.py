"""Mixed precision: layers that multiply in bf16, with exact fp32 master weights.

Micikevicius et al. 2018, Mixed Precision Training: the optimiser updates fp32 master weights. Here
the layers themselves are in bf16, so that neither weights nor activations are converted at every
use, as autocast alone would do; embeddings and heads stay in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.modules import encoder_of, family, layers_of, working_attention
from kdnas.runtime.device import Runtime


class Masters:
    """Exact fp32 weights of modules, whose own `rounded` parameters become bf16 copies of them."""

    def __init__(self, modules: nn.Module, rounded: list[nn.Parameter]) -> None:
        self.modules = modules
        self.exact = {p: nn.Parameter(p.detach(), p.requires_grad) for p in rounded}
        self.buffers: dict[nn.Parameter, Tensor] = {}
        for parameter in rounded:
            parameter.data = parameter.detach().to(torch.bfloat16)

    @property
    def trained(self) -> list[nn.Parameter]:
        """What an optimiser should update."""
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        return [self.exact.get(p, p) for p in parameters]

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Moves the rounded parameters' gradients to the exact ones, into the same memory."""
        given = {p: p.grad for p in self.exact if p.grad is not None}
        for parameter in given:
            if parameter not in self.buffers:
                self.buffers[parameter] = torch.empty_like(self.exact[parameter])
            self.exact[parameter].grad = self.buffers[parameter]
            parameter.grad = None
        if given:
            torch._foreach_copy_([self.buffers[p] for p in given], list(given.values()))

    @torch.no_grad()
    def publish(self) -> None:
        """Rounds the exact weights into the model."""
        pairs = [(p, exact) for p, exact in self.exact.items() if exact.requires_grad]
        if pairs:
            torch._foreach_copy_([p for p, _ in pairs], [exact for _, exact in pairs])

    def restore(self) -> None:
        """Puts the exact weights back into the model."""
        for parameter, exact in self.exact.items():
            parameter.data = exact.data

    def state_dict(self) -> dict[str, Tensor]:
        """The modules' state with exact weights."""
        named = self.modules.named_parameters(remove_duplicate=False)
        exact = {name: self.exact[p].detach() for name, p in named if p in self.exact}
        return {**self.modules.state_dict(), **exact}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.modules.load_state_dict(state)
        for name, parameter in self.modules.named_parameters():
            if parameter in self.exact:
                self.exact[parameter].copy_(state[name])


@contextmanager
def working_precision(
    model: PreTrainedModel,
    runtime: Runtime,
    objective: nn.Module | None = None,
    *,
    frozen: bool = False,
) -> Iterator[Masters]:
    """Layers and objective in the runtime's precision, for as long as the context lasts.

    The model can only be run by `forward` meanwhile. Of a `frozen` one nothing is trained or kept
    in checkpoints.
    """
    parts = {} if frozen else {"model": model}
    modules = nn.ModuleDict({**parts, "objective": objective or nn.Module()})
    layers = layers_of(model) if family(model).decoder else encoder_of(model)
    heavy = (*layers.parameters(), *modules["objective"].parameters())
    masters = Masters(modules, list(heavy) if runtime.precision == "bf16" else [])
    try:
        with working_attention(model):
            yield masters
    finally:
        masters.restore()
