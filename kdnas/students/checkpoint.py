"""Students on disk: plain checkpoints that transformers loads without kdnas."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact, damage, manifest_of
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.student import command_for, finished_student
from kdnas.students.pruning import dense, sliced
from kdnas.tasks import task_type_of
from kdnas.tasks.types import UNSCALED, LabelScale
from kdnas.teachers.head import in_label_units
from kdnas.teachers.load import load_tokenizer, reads_types
from kdnas.teachers.tokenizer import longest_target

CARD = "README.md"
TYPES = "token_type_ids"
PROBE = "a text"
# What the code of a card loads.
_CODE = re.compile(r"```python\n[^`]*\.from_pretrained\([^`]*```\n\n?")
# Code that runs in the folder, "." being its place, runs there wherever that is.
_LOADED = re.compile(r'(?<=\.from_pretrained\()"(?!\.")(?:[^"\\]|\\.)*"')


def card_at(card: str, place: Path | str) -> str:
    """A model card whose code loads the student from a folder, or a repository of the hub."""
    return _LOADED.sub(lambda _: json.dumps(str(place), ensure_ascii=False), card)


def card_without_code(card: str) -> str:
    """A model card for a folder without PyTorch's weights, which its code cannot load."""
    return _CODE.sub("", card, count=1)


def student_artifact(
    folder: Path,
    key: Mapping[str, Any],
    tokenizer: Any = None,
    scale: LabelScale = UNSCALED,
) -> Artifact[PreTrainedModel]:
    """A checkpoint with its tokenizer as an artifact; its model card may change afterwards.

    That of a pruned student is in its dense form, and is read in its sliced form.

    Tokenizer and scale are needed only to write it: the scale is that of a model in standard
    units, whose checkpoint is in the unit of the labels.
    """

    def save(model: PreTrainedModel, partial: Path) -> None:
        model.config.architectures = [type(model).__name__]
        with in_label_units(model.to("cpu"), scale):  # type: ignore[arg-type]
            dense(model).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if TYPES in tokenizer.model_input_names and not reads_types(model.config):
            names = [name for name in tokenizer.model_input_names if name != TYPES]
            _ask_for(partial / "tokenizer_config.json", names)

    def size(model: PreTrainedModel) -> int:
        return sum(tensor.nbytes for tensor in dense(model).state_dict().values())

    return Artifact(folder, key, load_student, save, unchecked={CARD}, size=size)


def _ask_for(file: Path, names: Sequence[str]) -> None:
    """Has a tokenizer give what the model reads: plain transformers passes on all that it gives."""
    config: dict[str, Any] = read_json(file) or {}
    write_json(file, {**config, "model_input_names": [*names]})


def load_student(folder: Path) -> PreTrainedModel:
    """A saved student, in evaluation mode and full precision; a pruned one in its sliced form.

    One that writes does so as its generation config says, which people may edit.

    Raises:
        KdnasError: The checkpoint lacks weights of its model, or has some where its config says
            that they are pruned; or it cannot write as its generation config says.
    """
    return _adapted(_read(folder))


def _adapted(model: PreTrainedModel) -> PreTrainedModel:
    task_type_of(model.config).adapt(model, {}, positions=longest_target(model.config))
    return model


def _read(folder: Path) -> PreTrainedModel:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    task = task_type_of(AutoConfig.from_pretrained(folder))
    model: PreTrainedModel
    model, info = task.auto_class.from_pretrained(
        folder,
        dtype=torch.float32,
        trust_remote_code=False,
        weights_only=True,
        output_loading_info=True,
    )
    if info["missing_keys"]:
        raise KdnasError(
            f"{folder} lacks the weights {', '.join(sorted(info['missing_keys'])[:2])}"
        )
    return sliced(model.eval())


def check_files(name: str) -> None:
    """Compares the files of a checkpoint with its manifest, which those from elsewhere lack.

    Args:
        name: Hub id or folder.

    Raises:
        KdnasError: A file is missing, cut short or altered.
    """
    folder = Path(name)
    if manifest_of(folder).exists() and (problem := damage(folder)):
        raise KdnasError(f"{problem}; make or copy the checkpoint again")


def undamaged_student(run: Path, trial: int | None = None, place: str | None = None) -> Path:
    """The folder of a run's student, as `finished_student` finds it.

    Raises:
        KdnasError: There is none, or a file of it is missing, cut short or altered.
    """
    folder = finished_student(run, trial, place)
    if problem := damage(folder):
        raise KdnasError(problem + _made_again(run, trial))
    return folder


def _made_again(run: Path, trial: int | None) -> str:
    return f"; make the student again with {command_for(run, trial)}"


def load_checked(
    run: Path, trial: int | None = None, place: str | None = None
) -> tuple[PreTrainedModel, Any]:
    """A run's student and its tokenizer, both undamaged: it answers a text with finite numbers.

    Raises:
        KdnasError: There is none, a file of it is missing, cut short or altered, model or
            tokenizer do not work, or it cannot write as its generation config says.
    """
    folder, again = undamaged_student(run, trial, place), _made_again(run, trial)
    try:
        model, tokenizer = _read(folder), load_tokenizer(str(folder))
        with torch.inference_mode():
            said = task_type_of(model.config).raw_outputs(
                model, tokenizer(PROBE, return_tensors="pt")
            )
    except Exception as error:  # transformers and tokenizers raise errors of many kinds
        reason = shorten(str(error), 200, placeholder=" ...")
        raise KdnasError(f"cannot load {folder}: {reason}{again}") from None
    if not all(torch.isfinite(value).all() for value in (*said, *model.state_dict().values())):
        raise KdnasError(f"{folder} holds weights that are NaN or infinite{again}")
    return _adapted(model), tokenizer
