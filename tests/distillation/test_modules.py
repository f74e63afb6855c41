"""Where the parts of a model are, whatever its family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ragged import model_of
from support.tiny_pairs import VARIANTS, tiny_pair
from torch import nn

from kdnas.distillation.modules import can_pack, family, layers_of, stacks_of
from kdnas.space.families import FAMILIES


def test_families_of_the_attention_interface_run_packed(make_teacher: Callable[..., Path]) -> None:
    padded = {f for f in FAMILIES if not can_pack(model_of(make_teacher(f)))}
    assert padded == {"deberta", "deberta-v2", "megatron-bert", "mpnet", "rembert", "roformer"}


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_the_stacks_are_the_layers_that_the_names_of_weights_tell(
    model_type: str, changes: dict[str, Any]
) -> None:
    """Inheriting reads layers off the names of weights, a forward pass off the modules."""
    model = tiny_pair(model_type, **changes)
    named: dict[str, list[nn.Module]] = defaultdict(list)
    for path, module in model.named_modules():
        at = family(model).layer_of(path)
        if at and at[0] == path:
            assert at[1] == len(named[path.rpartition(".")[0]])
            named[path.rpartition(".")[0]].append(module)
    assert [list(stack) for stack in stacks_of(model)] == list(named.values())
    assert [len(layers) for layers in named.values()] == [4, 3]
    assert list(layers_of(model)) == [layer for layers in named.values() for layer in layers]
