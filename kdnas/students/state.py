"""A student in the making: the model and the projections it learns through, on disk and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from kdnas.distillation.losses.table import HiddenLoss
from kdnas.files.atomic import replace_folder
from kdnas.space import Architecture


@dataclass
class StudentState:
    """A student, its shape, and the hidden-state term whose projections it was trained with."""

    architecture: Architecture
    student: PreTrainedModel
    hidden: HiddenLoss

    def save(self, folder: Path) -> None:
        """Keeps both, for a longer training to go on from."""
        size = sum(t.nbytes for m in self._modules().values() for t in m.state_dict().values())
        with replace_folder(folder, size) as partial:
            for name, module in self._modules().items():
                tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
                save_file(tensors, partial / f"{name}.safetensors")

    def load(self, folder: Path) -> bool:
        """Fills both from a folder; False where there is nothing."""
        files = {name: folder / f"{name}.safetensors" for name in self._modules()}
        if not all(path.exists() for path in files.values()):
            return False
        try:
            states = {name: load_file(path) for name, path in files.items()}
        except SafetensorError:  # a damaged disk: as if it had never been there
            return False
        for name, module in self._modules().items():
            module.load_state_dict(states[name])
        return True

    def _modules(self) -> dict[str, nn.Module]:
        return {"student": self.student, "projections": self.hidden}
