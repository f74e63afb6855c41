"""A cut vocabulary and a pruned student go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from support.tiny import small_config, small_tokenizer
from transformers import AutoModelForSequenceClassification

from kdnas.space import PrunedArchitecture
from kdnas.students import build_student
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import architecture_of
from kdnas.students.vocabulary import cut_vocabulary
from kdnas.teachers.tokenizer import as_used


def test_a_pruned_student_ships_with_fewer_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, tokenizer = small_config(), small_tokenizer()
    teacher = AutoModelForSequenceClassification.from_config(config).eval()
    counts = PrunedArchitecture((4, 1, 0), 32, (64, 8, 0), "gelu")
    student = build_student(teacher, counts)
    text = "the good cat sees the river"
    ids = np.array(as_used(tokenizer, config)(text)["input_ids"])
    made = cut_vocabulary("task", tokenizer, config, np.bincount(ids, minlength=200), 1)
    small = made.cut(student)
    assert architecture_of(small.config) == counts
    student_artifact(tmp_path / "student", {}, made.tokenizer).write(small)
    loaded = load_student(tmp_path / "student")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    own = torch.tensor([made.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        wanted = student(torch.from_numpy(ids)[None]).logits
        for model in (small, loaded, plain):
            torch.testing.assert_close(model(own).logits, wanted)
    assert len(plain.get_input_embeddings().weight) == len(made)
