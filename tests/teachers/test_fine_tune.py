from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, sentence
from support.stepwise import Stepwise
from support.tiny_writers import save_writer
from transformers import AutoConfig

from kdnas.config import Settings
from kdnas.distillation.schedule import Schedule
from kdnas.files.cache import cache_folder
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, encode, load_spec
from kdnas.tasks.class_weights import with_class_weights
from kdnas.tasks.types.values import object_rows
from kdnas.teachers.fine_tune import fine_tune_teacher
from kdnas.teachers.load import Teacher, load_teacher

SCHEDULE = Schedule(1, 5e-5, batch_size=8)


def fresh(folder: Path) -> Teacher:
    return load_teacher(str(folder), load_spec("sst2"))


@pytest.fixture
def data(teacher_folder: Path) -> EncodedExamples:
    rng = random.Random(0)
    texts = [sentence(rng) for _ in range(40)]
    return encode(Examples(texts, None, np.arange(40) % 2), fresh(teacher_folder).tokenizer, 32)


def tuned(
    teacher_folder: Path, data: EncodedExamples, runtime: Runtime, out: Path, **changes: Any
) -> dict[str, torch.Tensor]:
    teacher = fresh(teacher_folder)
    fine_tune_teacher(teacher, data, replace(SCHEDULE, **changes), runtime, out)
    assert teacher.has_head and not teacher.model.training
    saved = load_teacher(str(out), load_spec("sst2"))
    assert saved.has_head
    state = teacher.model.state_dict()
    assert all(torch.equal(value, state[n]) for n, value in saved.model.state_dict().items())
    return state


def test_class_weights_are_part_of_what_a_teacher_is(
    teacher_folder: Path,
    data: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    rare = data.relabelled((np.arange(40) % 10 == 0).astype(np.int64))
    spec, made = load_spec("sst2"), {}
    for asked in ("none", "balanced", "balanced"):
        rows = with_class_weights(rare, spec, asked)  # type: ignore[arg-type]
        assert rows.fingerprint() == rare.fingerprint()  # the data are the same
        state = tuned(teacher_folder, rows, runtime, tmp_path / asked, epochs=4, lr=5e-4)
        made.setdefault(asked, []).append(state["classifier.bias"])
    assert capsys.readouterr().out.count("found the fine-tuned teacher") == 1
    assert torch.equal(*made["balanced"])
    plain, weighted = (float(b[1] - b[0]) for b in (made["none"][0], made["balanced"][0]))
    assert weighted > plain  # the rare class is answered more readily


def test_a_head_of_another_task_is_replaced_unless_it_is_wanted(
    glue_folder: Path,
    make_classifier: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = str(make_classifier(("joy", "anger")))
    given: dict[str, Any] = {"teacher": model, "task": "sst2", "data_dir": glue_folder, **QUICK}
    given |= {"batch_size": 2, "teacher_lr": 1e-2}

    def weights(name: str, **more: Any) -> torch.Tensor:
        settings = Settings(out=tmp_path / name, **given, **more)
        return Stepwise(Run.create(settings)).teacher.model.classifier.weight

    before = load_teacher(model, load_spec("sst2")).model.classifier.weight
    assert torch.equal(weights("as it is", teacher_as_is=True), before)
    assert "the teacher's head" not in capsys.readouterr().out
    assert not torch.allclose(weights("new"), before, atol=0.01)
    said = capsys.readouterr().out
    assert "head predicts joy, anger, this task has negative, positive" in said
    assert "fine-tuning the teacher" in said


def test_a_second_run_takes_the_teacher_from_the_cache(
    teacher_folder: Path,
    data: EncodedExamples,
    runtime: Runtime,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = tuned(teacher_folder, data, runtime, tmp_path / "a" / "teacher")
    assert "found the fine-tuned" not in capsys.readouterr().out
    again = tuned(teacher_folder, data, runtime, tmp_path / "b" / "teacher")
    assert "found the fine-tuned" in capsys.readouterr().out
    assert all(torch.equal(again[name], value) for name, value in first.items())
    tuned(teacher_folder, data, runtime, tmp_path / "c" / "teacher", lr=1e-3)
    assert "found the fine-tuned" not in capsys.readouterr().out
    for weights in cache_folder().glob("teachers/*/model.safetensors"):
        weights.write_bytes(b"half")
    mended = tuned(teacher_folder, data, runtime, tmp_path / "d" / "teacher")
    assert "is damaged; training it again" in capsys.readouterr().out
    assert all(torch.equal(mended[name], value) for name, value in first.items())


def test_a_teacher_from_the_cache_writes_as_the_given_one(
    runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, kind = save_writer(tmp_path / "bart"), TASK_TYPES["sequence-to-sequence"]
    file, given = place / "generation_config.json", {"max_target_length": 9}
    said = json.loads(file.read_text())
    for beams in (1, 3):
        file.write_text(json.dumps({**said, "num_beams": beams}))
        options = kind.encode_options(given, AutoConfig.from_pretrained(place))
        teacher = load_teacher(str(place), load_spec("multi30k"), options=options)
        targets = object_rows([("eht taccat",)] * 8)
        rows = Examples(["the cat"] * 8, labels=targets, task_type=kind.name)
        data = encode(rows, teacher.tokenizer, 32, options=options)
        out = tmp_path / str(beams) / "teacher"
        fine_tune_teacher(teacher, data, SCHEDULE, runtime, out)
        own = teacher.model.generation_config
        assert (own.num_beams, own.max_new_tokens) == (beams, given["max_target_length"])
        assert json.loads((out / file.name).read_text())["num_beams"] == beams
        given = {"max_target_length": 12}  # of the same targets
    assert capsys.readouterr().out.count("found the fine-tuned teacher") == 1
