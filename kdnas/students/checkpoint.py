"""Students on disk: plain checkpoints that transformers loads without kdnas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from kdnas.files.atomic import read_json, replace_folder, write_json
from kdnas.tasks import task_type_of

RECORD = "kdnas.json"
CARD = "README.md"


def ship_student(
    folder: Path, model: PreTrainedModel, tokenizer: Any, record: dict[str, Any]
) -> None:
    """Saves a checkpoint, its tokenizer, and a record of how it came about; whole or not at all."""
    model.config.architectures = [type(model).__name__]
    with replace_folder(folder, sum(t.nbytes for t in model.state_dict().values())) as partial:
        model.to("cpu").save_pretrained(partial)  # type: ignore[arg-type]
        tokenizer.save_pretrained(partial)
        write_json(partial / RECORD, record)


def shipped(folder: Path, record: dict[str, Any]) -> bool:
    """Whether a folder holds the checkpoint of that record."""
    return read_json(folder / RECORD) == record


def load_student(folder: Path) -> PreTrainedModel:
    """A shipped student, in evaluation mode and full precision."""
    task = task_type_of(AutoConfig.from_pretrained(folder))
    model: PreTrainedModel = task.auto_class.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, weights_only=True
    )
    return model.eval()
