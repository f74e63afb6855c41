"""Pruned students in ONNX Runtime: physically smaller, and of the same answers, in each family."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from kdnas.exporting.agreement import TOLERANCE, check_agreement, random_inputs
from kdnas.exporting.onnx import quantise
from kdnas.measure import count_params
from kdnas.measure.onnx import to_onnx
from kdnas.measure.onnx_sessions import Session
from kdnas.space.families import FAMILIES
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import Kept, dense, is_sliced, sliced
from kdnas.teachers.load import load_teacher
from kdnas.teachers.tokenizer import longest_input

PRUNABLE = sorted(set(FAMILIES) - {"albert"})
DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
}
KEPT = Kept.of([[0, 2, 3], [], [1]], [range(8, 40), range(3, 64, 2), []])
NOTHING = Kept.of([[], [], []], [[], [], []])


# An export takes a second a family.
QUICK = ("bert", "modernbert", "distilbert")
SAMPLE = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PRUNABLE]


def pruned(model_type: str, kept: Kept = KEPT) -> PreTrainedModel:
    """A small classifier whose logits depend on its input, pruned."""
    torch.manual_seed(0)
    changes = DISENTANGLED if model_type.startswith("deberta") else {}
    config = small_config(model_type, **changes)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(6)
    return sliced(model, kept)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_sliced_dense_and_onnx_answer_alike(model_type: str, tmp_path: Path) -> None:
    model = pruned(model_type)
    to_onnx(model, tmp_path / "small.onnx")
    session = Session(tmp_path / "small.onnx")
    longest = longest_input(model.config)
    assert check_agreement(model, session, longest) <= TOLERANCE
    assert check_agreement(dense(model), session, longest) <= TOLERANCE


def test_the_file_is_smaller_by_what_is_gone(tmp_path: Path) -> None:
    model = pruned("bert")
    whole = load_like(model)  # not the dense form: tables of zeros, being equal, are written once
    to_onnx(model, tmp_path / "small.onnx")
    to_onnx(whole, tmp_path / "whole.onnx")
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("small", "whole")]
    gone = 4 * (count_params(whole) - count_params(model))
    assert sizes[1] - sizes[0] > 0.9 * gone


def load_like(model: PreTrainedModel) -> PreTrainedModel:
    """A dense model of the same shape with random weights."""
    config = copy.deepcopy(model.config)
    del config.kdnas_pruned
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("model_type", ["bert", "modernbert", "distilbert"])
def test_a_student_without_heads_and_neurons_answers_alike(model_type: str, tmp_path: Path) -> None:
    model = pruned(model_type, NOTHING)
    to_onnx(model, tmp_path / "small.onnx")
    session = Session(tmp_path / "small.onnx")
    assert check_agreement(model, session, 32) <= TOLERANCE


def test_int8_of_the_sliced_form_is_near(tmp_path: Path) -> None:
    model = pruned("bert")
    to_onnx(model, tmp_path / "small.onnx")
    quantise(tmp_path / "small.onnx", tmp_path / "int8.onnx")
    plain, small = (Session(tmp_path / f"{name}.onnx") for name in ("small", "int8"))
    given = list(itertools.islice(random_inputs(model, plain.names, 32), 6))
    said = [np.concatenate([s.run(i)["logits"] for i in given]) for s in (plain, small)]
    assert np.abs(said[0] - said[1]).mean() < 0.3 * said[0].std()


@pytest.mark.parametrize("model_type", PRUNABLE)
def test_a_checkpoint_is_dense_for_others_and_sliced_for_kdnas(
    model_type: str, tmp_path: Path, teacher_folder: Path
) -> None:
    model = pruned(model_type)
    tokenizer = load_teacher(str(teacher_folder), None).tokenizer
    student_artifact(tmp_path / "student", {"trial": 1}, tokenizer).write(model)
    folder = tmp_path / "student"
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    again = load_student(folder)
    assert is_sliced(again) and not is_sliced(plain)
    tokens = torch.arange(5, 25).view(2, 10)
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    with torch.no_grad():
        logits = [m(input_ids=tokens, attention_mask=mask).logits for m in (model, again, plain)]
    assert torch.equal(logits[0], logits[1])
    torch.testing.assert_close(logits[2], logits[0], atol=1e-5, rtol=1e-5)
    zeros = sum(int((value == 0).sum()) for value in plain.state_dict().values())
    assert zeros >= count_params(plain) - count_params(model)
