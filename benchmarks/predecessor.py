"""The predecessor's mini-KD loop, copied faithfully for comparison.

Teacher and student are masked-LM models, the teacher runs at every step, everything is fp32 and
padded to the maximum length, one projection serves all layers, padding counts in the loss.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, logging

from kdnas.distillation.batches import Indices
from kdnas.distillation.layer_map import LayerMap
from kdnas.space import Architecture
from kdnas.space.families import family_of
from kdnas.students.configs import student_config
from kdnas.tasks import EncodedExamples


class Predecessor:
    """One student in training.

    Args:
        teacher_source: Folder or name of the teacher.
        architecture: The student's.
        length: Tokens that every example is padded to.
        pad_id: Token that fills.
        device: Where it trains; it knew the CPU alone.
    """

    def __init__(
        self,
        teacher_source: str,
        architecture: Architecture,
        length: int,
        pad_id: int,
        device: torch.device | str = "cpu",
    ) -> None:
        logging.set_verbosity_error()
        self.teacher = AutoModelForMaskedLM.from_pretrained(teacher_source).eval()
        config: Any = copy.deepcopy(self.teacher.config)
        family = family_of(config.model_type, config.model_type)
        self.student = AutoModelForMaskedLM.from_config(
            student_config(config, family, architecture)
        ).train()
        depth = config.num_hidden_layers
        self.map = LayerMap.of("skip+last", architecture.num_hidden_layers, depth)
        self.projection = nn.Linear(architecture.hidden_size, 2 * config.hidden_size)
        for module in (self.teacher, self.student, self.projection):
            module.to(device)
        self.device = device
        parameters = [*self.student.parameters(), *self.projection.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=5e-5)
        self.length, self.pad_id = length, pad_id

    def train(self, data: EncodedExamples, indices: Indices, batch: int) -> None:
        """One pass over some examples."""
        for start in range(0, len(indices), batch):
            self.step(self.pad(data, indices[start : start + batch]))

    def step(self, inputs: dict[str, torch.Tensor]) -> None:
        """Teacher, student, loss, backward, optimiser."""
        with torch.no_grad():
            theirs = self.teacher(**inputs, output_hidden_states=True).hidden_states
        ours = self.student(**inputs, output_hidden_states=True).hidden_states[1:]
        losses = [
            nn.functional.mse_loss(
                self.projection(states), torch.cat([theirs[t] for t in target], dim=-1)
            )
            for states, target in zip(ours, self.map.targets, strict=True)
        ]
        torch.autograd.backward(torch.stack(losses).sum())
        self.optimizer.step()
        self.optimizer.zero_grad()

    def pad(self, data: EncodedExamples, indices: Indices) -> dict[str, torch.Tensor]:
        """A batch padded to the maximum."""
        ids = np.full((len(indices), self.length), self.pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, i in enumerate(indices):
            tokens = data.input_ids[data.offsets[i] : data.offsets[i + 1]]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        return {name: value.to(self.device) for name, value in inputs.items()}
