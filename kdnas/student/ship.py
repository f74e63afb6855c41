"""Students on disk: plain checkpoints that transformers loads without kdnas."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.files import read_json, replace_folder, write_json

RECORD = "kdnas.json"


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
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, weights_only=True
    )
    return model.eval()


def check_student(student: Path) -> None:
    """Makes sure that a run has shipped a student.

    Raises:
        KdnasError: There is none yet.
    """
    if not (student / "config.json").exists():
        raise KdnasError(f"{student} holds no student yet; kdnas resume finishes the run")


def export_student(student: Path, target: Path) -> None:
    """Copies a shipped checkpoint.

    Raises:
        KdnasError: There is no student yet, or the target is not empty.
    """
    check_student(student)
    if target.exists() and any(target.iterdir()):
        raise KdnasError(f"{target} is not empty; choose another --out")
    with replace_folder(target) as partial:
        shutil.copytree(student, partial, dirs_exist_ok=True)
