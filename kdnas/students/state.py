"""A student while it trains: the model, and what its losses learn beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from kdnas.distillation.losses import DistillationLoss
from kdnas.files.artifact import Artifact
from kdnas.space import AnyArchitecture
from kdnas.students.pruning import Kept, architecture_of, slice_in_place
from kdnas.students.words import untie
from kdnas.tasks import task_type_of

MODEL, PART = "student", "part-"


@dataclass
class StudentState:
    """A student in training.

    Attributes:
        model: What is shipped in the end.
        parts: By loss, the parameters and buffers that it learnt with; nothing of them ships.
    """

    model: PreTrainedModel
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def architecture(self) -> AnyArchitecture:
        return architecture_of(self.model.config)

    def keep(self, losses: Mapping[str, DistillationLoss]) -> None:
        """Keeps what losses learnt for later stages."""
        learnt = {name: loss.learnt() for name, loss in losses.items()}
        self.parts |= {name: _copies(state) for name, state in learnt.items() if state}

    def save(self, folder: Path) -> None:
        self.model.config.architectures = [type(self.model).__name__]
        self.model.config.save_pretrained(folder)
        if self.model.can_generate():
            self.model.generation_config.save_pretrained(folder)
        save_file(_copies(self.model.state_dict()), folder / f"{MODEL}.safetensors")
        for name, tensors in self.parts.items():
            save_file(tensors, folder / f"{PART}{name}.safetensors")

    @classmethod
    def load(cls, folder: Path) -> StudentState:
        """Reads what `save` wrote, to the CPU and in evaluation mode."""
        config = AutoConfig.from_pretrained(folder)
        model: PreTrainedModel = task_type_of(config).auto_class.from_config(
            config, dtype=torch.float32
        )
        if kept := Kept.read(config):
            slice_in_place(model, kept)
        if (folder / GENERATION_CONFIG_NAME).exists():
            model.generation_config = GenerationConfig.from_pretrained(folder)
        weights = load_file(folder / f"{MODEL}.safetensors")
        untie(model, weights)
        model.load_state_dict(weights)
        files = sorted(folder.glob(f"{PART}*.safetensors"))
        parts = {file.stem.removeprefix(PART): load_file(file) for file in files}
        return cls(model.eval(), parts)


def state_artifact(folder: Path, key: Mapping[str, Any]) -> Artifact[StudentState]:
    """A student state on disk; the key is all that decides it."""

    def size(state: StudentState) -> int:
        states = [state.model.state_dict(), *state.parts.values()]
        return sum(value.nbytes for tensors in states for value in tensors.values())

    return Artifact(folder, key, StudentState.load, StudentState.save, size=size)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU; tied weights stand there twice."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}
