"""Static students: no layers. Token vectors are averaged and read by a small head.

The network is that of Iyyer et al. 2015, Deep Unordered Composition Rivals Syntactic Methods for
Text Classification. As in model2vec (Tulkens and van Dongen 2024), a token's vector starts as what
the teacher makes of this token alone, in its principal components; training does the rest.

transformers has no class for it, but EuroBERT without layers, pooled by the mean, is the same:
vectors, a gain for each dimension, their mean, a hidden layer, the outputs. It loads plainly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import EuroBertConfig, PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.runtime.interrupt import check
from kdnas.space import AnyArchitecture, Architecture
from kdnas.students.chosen import principal_basis
from kdnas.students.importance import spectrum_of
from kdnas.tasks import TaskType
from kdnas.teachers.tokenizer import longest_input

# Added to a vector's mean square before it is scaled to length 1: so large that its length goes on
# to count, which is how much the token weighs in the mean.
EVEN = 1.0
# Tokens that a teacher reads at a time.
MANY = 1024
# The special tokens ahead of a text and behind it.
Ends = tuple[Sequence[int], Sequence[int]]
NO_ENDS: Ends = ((), ())
# Of a head, and how kdnas reads it: what a student has of its teacher's config.
KEPT = ("id2label", "label2id", "problem_type", "kdnas_task_type", "kdnas_threshold")


def check_static(architectures: Iterable[AnyArchitecture], task: TaskType) -> None:
    """Raises KdnasError where one is static, but the task's logits are not of whole texts."""
    static = [a for a in architectures if isinstance(a, Architecture) and a.is_static]
    if static and not task.whole_texts:
        raise KdnasError(
            f"invalid --architecture {static[0].label}: a student without layers answers for whole "
            f"texts, and the task is {task.name}; give 1 layer or more"
        )


def static_config(config: Any, architecture: Architecture) -> EuroBertConfig:
    """The config of a static student, from that of its teacher."""
    about = {name: getattr(config, name) for name in KEPT if getattr(config, name, None)}
    return EuroBertConfig(
        vocab_size=config.vocab_size,
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=0,
        num_attention_heads=architecture.num_attention_heads,
        num_key_value_heads=architecture.num_attention_heads,
        hidden_act=architecture.hidden_act,
        max_position_embeddings=longest_input(config),
        rms_norm_eps=EVEN,
        classifier_pooling="mean",
        pad_token_id=config.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
        mask_token_id=config.pad_token_id,
        **about,
    )


def empty_static(config: Any, architecture: Architecture, task: TaskType) -> PreTrainedModel:
    """A static student with random weights, from its teacher's config."""
    made = static_config(config, architecture)
    student: PreTrainedModel = task.auto_class.from_config(made, dtype=torch.float32)
    return student


@torch.no_grad()
def take_token_vectors(student: PreTrainedModel, vectors: Tensor) -> None:
    """Starts a static student, in place, from what its teacher makes of each token.

    Args:
        student: Drawn at random; its outputs stay so.
        vectors: Shape (tokens, teacher hidden size), as `token_vectors` makes them.
    """
    size = int(student.config.hidden_size)
    centred = (vectors - vectors.mean(0)).double()
    basis, _ = principal_basis(spectrum_of(centred.T @ centred / len(centred)), size)
    narrow = centred.float() @ basis
    table = student.get_input_embeddings().weight
    table.copy_(narrow / narrow.square().mean().sqrt())
    dense: Any = student.get_submodule("dense")
    torch.nn.init.eye_(dense.weight)


@torch.no_grad()
def token_vectors(teacher: PreTrainedModel, ends: Ends = NO_ENDS) -> Tensor:
    """A teacher's last states, averaged, for each token alone: shape (tokens, hidden size)."""
    first, last = (torch.tensor(list(part), dtype=torch.long) for part in ends)
    found = []
    count = int(teacher.config.vocab_size)
    for start in range(0, count, MANY):
        check()
        tokens = torch.arange(start, min(start + MANY, count))
        rows = torch.cat(
            [first.expand(len(tokens), -1), tokens[:, None], last.expand(len(tokens), -1)], dim=1
        ).to(teacher.device)
        states = teacher.base_model(rows, attention_mask=torch.ones_like(rows)).last_hidden_state
        found.append(states.float().mean(1).cpu())
    return torch.cat(found)
