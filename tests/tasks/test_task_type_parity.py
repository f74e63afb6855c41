"""Every kind of task on small teachers: what transformers says, a step, a plain checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import save_animals, save_mrpc, save_squad, save_topics

from kdnas.distillation.batches import collate
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal
from kdnas.distillation.training import predict, train
from kdnas.runtime.device import Runtime
from kdnas.space import FAMILIES, Architecture
from kdnas.students import build_student
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.tasks import TASK_TYPES, TaskData, encode, load_data, load_spec
from kdnas.teachers.load import load_teacher

TYPES: dict[str, tuple[Callable[[Path], Path], dict[str, object]]] = {
    "classification": (save_mrpc, {}),
    "regression": (save_mrpc, {"text": ["#1 String", "#2 String"], "label": "Quality"}),
    "multi-label": (save_topics, {"text": "text", "label": "topics"}),
    "token-classification": (save_animals, {}),
    "question-answering": (save_squad, {}),
}
NAMES = {"multi-label": "topics", "token-classification": "animals", "question-answering": "squad"}
SOME = ("bert", "distilbert", "electra", "modernbert")


@dataclass
class Tasks:
    """The tasks that were asked for, read once."""

    folder: Path
    read: dict[str, TaskData]

    def of(self, kind: str) -> TaskData:
        if kind not in self.read:
            save, entry = TYPES[kind]
            (self.folder / kind).mkdir()
            folder, name = save(self.folder / kind), NAMES.get(kind, "mrpc")
            own = {"text": "text", **entry} if entry else {}
            extra = {name: {"type": kind, **own}} if own or kind == "token-classification" else {}
            self.read[kind] = load_data(load_spec(name, extra), folder)
        return self.read[kind]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    return Tasks(tmp_path_factory.mktemp("tasks"), {})


CASES = [(kind, family) for kind in TYPES for family in SOME]
CASES += [("multi-label", family) for family in sorted(FAMILIES) if family not in SOME]


def test_every_type_is_here() -> None:
    own = {name for name, kind in TASK_TYPES.items() if type(kind).__module__.startswith("kdnas.")}
    # tests/evaluation/test_generated.py has the one with a decoder.
    assert own == {*TYPES, "sequence-to-sequence"}


@pytest.mark.parametrize(("kind", "family"), CASES)
def test_a_type_on_a_family(
    kind: str,
    family: str,
    tasks: Tasks,
    make_teacher: Callable[..., Path],
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    task, own = tasks.of(kind), TASK_TYPES[kind]
    teacher = replace(load_teacher(str(make_teacher(family)), task.spec), has_head=True)
    data = encode(task.splits["train"].take(range(6)), teacher.tokenizer, 48)
    packed = predict(teacher.model, data, runtime, pad_id=0)
    # Plain transformers, all examples padded in one batch.
    batch = collate(data, np.arange(len(data)), 0)
    with torch.no_grad():
        plain = own.pick_logits(teacher.model(**batch.inputs), batch.units)
    torch.testing.assert_close(packed, plain, atol=2e-5, rtol=1e-4)
    shape = Architecture(**{**teacher.architecture.params, "num_hidden_layers": 1})
    student = build_student(teacher.model, shape)
    assert type(student) is type(teacher.model)
    losses = WeightedLosses({"task": (1.0, TaskLoss()), "logits": (1.0, LogitsLoss())})
    before = predict(student, data, runtime, pad_id=0)
    source, schedule = LiveSignal(teacher.model, runtime), Schedule(1, 1e-3, len(data), 0)
    train(student, losses, data, source, schedule, runtime, pad_id=0)
    after = predict(student, data, runtime, pad_id=0)
    assert after.isfinite().all() and not torch.equal(before, after)
    student_artifact(tmp_path / "student", {}, teacher.tokenizer).write(student)
    again = load_student(tmp_path / "student")
    torch.testing.assert_close(predict(again, data, runtime, pad_id=0), after)
    loaded = own.auto_class.from_pretrained(tmp_path / "student")
    assert type(loaded) is type(student)
    assert getattr(loaded.config, "problem_type", None) == own.problem_type
