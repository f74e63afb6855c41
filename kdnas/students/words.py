"""Word embeddings of teachers: which stacks read them, and whether a head shares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.space.families import Family


@dataclass(frozen=True)
class WordTables:
    """The word embeddings of a teacher.

    Attributes:
        tables: A stack's each, shape (vocabulary, embedding size).
        names: The state dict's names of all tensors that are one of them, tied heads among them.
        tied_head: Whether the head's weights are the last stack's.
        scaled_in: Whether the model multiplies what it looks up by the root of the hidden size.
        scaled_out: Whether it divides what the head reads by that root.
    """

    tables: list[Tensor]
    names: frozenset[str]
    tied_head: bool = False
    scaled_in: bool = False
    scaled_out: bool = False

    @property
    def shared(self) -> bool:
        """Whether all stacks read the same embeddings."""
        return len({table.data_ptr() for table in self.tables}) == 1

    @classmethod
    def of(cls, teacher: PreTrainedModel, family: Family) -> WordTables:
        """Those of a loaded teacher."""
        readers = [teacher]
        if family.decoder:
            readers = [teacher.get_encoder(), teacher.get_decoder()]
        tables = [reader.get_input_embeddings().weight for reader in readers]
        every = teacher.named_parameters(remove_duplicate=False)
        names = frozenset(name for name, p in every if any(p is table for table in tables))
        head = teacher.get_output_embeddings() if family.decoder else None
        flags = (
            bool(name and getattr(teacher.config, name, False))
            for name in (family.scales_embeddings, family.scales_outputs)
        )
        tied = head is not None and head.weight is tables[-1]
        return cls([table.detach().cpu() for table in tables], names, tied, *flags)


def untie(student: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Gives a student weights of its own where others differ, whatever its config says.

    Checkpoints of T5 1.1 have a head apart from the embeddings, which transformers leaves apart.
    `weights` are by name those of its teacher, or its own before.
    """
    for name, other in dict(student.all_tied_weights_keys).items():
        ours = [student.get_parameter_or_buffer(path) for path in (name, other)]
        known = name in weights and other in weights
        if not known or ours[0] is not ours[1] or torch.equal(weights[name], weights[other]):
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(student.get_submodule(parent), leaf, nn.Parameter(ours[0].detach().clone()))
        student.all_tied_weights_keys.pop(name)
