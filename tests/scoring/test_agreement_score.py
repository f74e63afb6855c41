"""The score that compares recipes: agreement of predictions after a short run of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.config import load_settings
from kdnas.distillation.top_logits import top_of
from kdnas.runs.run_folder import Run
from kdnas.scoring.agreement import Concordance
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.scorer import Budget
from kdnas.space import Architecture, Candidate
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.encode import Units
from kdnas.teachers.stored_logits import KEEP

SMALL = Architecture(2, 2, 16, 32, "gelu")
# Of the first two units below, worked out by hand from all outputs.
GOLDEN_ALL = -0.182094
TEACHER = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])


def compared(student: torch.Tensor, teacher: torch.Tensor = TEACHER) -> Any:
    found = Concordance(len(student))
    for part in (slice(0, 3), slice(3, None)):  # batch by batch
        rows = np.arange(len(student))[part]
        found.add(student[part].double(), teacher[part].double(), rows)
    return found.result()


def test_the_concordance_is_golden() -> None:
    assert compared(TEACHER).value == pytest.approx(1)
    assert compared(TEACHER / 2).value == pytest.approx(0.8)
    assert compared(-TEACHER).value == pytest.approx(-1)
    for constant in (0.0, 7.0):
        assert compared(torch.full_like(TEACHER, constant)).value == pytest.approx(0)
    nothing = torch.ones(4, 2)
    assert compared(nothing, nothing).value == 1  # nothing varies, and both say the same


def test_the_interval_is_a_bootstrap_over_rows() -> None:
    torch.manual_seed(0)
    teacher = torch.rand(400, 2)
    near, far = (compared(teacher + size * torch.randn(400, 2), teacher) for size in (0.1, 0.3))
    for one in (near, far):
        low, high = one.interval
        assert low < one.value < high
    assert near.interval[0] > far.interval[1]
    assert far.interval[1] - far.interval[0] > near.interval[1] - near.interval[0]
    perfect = compared(teacher, teacher)
    assert perfect.interval == (1.0, 1.0)


class OnApple(torch.Tensor):
    """Values on a GPU that has no double precision, as far as a CPU can play it."""

    device = torch.device("mps")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (kwargs or {}).get("dtype") == torch.double or func is torch.Tensor.double:
            raise TypeError("Cannot convert a MPS Tensor to float64")
        found = super().__torch_function__(func, types, args, kwargs or {})
        return found.as_subclass(torch.Tensor) if func is torch.Tensor.cpu else found


def test_devices_without_double_precision_are_compared_on_the_cpu() -> None:
    student = TEACHER / 2
    there = agreement(student.as_subclass(OnApple), TEACHER.as_subclass(OnApple))
    assert there == pytest.approx(0.8) == agreement(student, TEACHER)


def test_units_of_one_row_count_together() -> None:
    whole, split = Concordance(2), Concordance(2)
    student = torch.zeros(4, 2).double()
    whole.add(student, TEACHER.double(), np.array([0, 0, 1, 1]))
    for i, row in enumerate((0, 0, 1, 1)):
        split.add(student[i : i + 1], TEACHER[i : i + 1].double(), np.array([row]))
    assert whole.result() == split.result()


def test_stored_outputs_agree_as_all_do() -> None:
    """A vocabulary's likeliest outputs, and the rest in equal parts."""
    teacher = torch.tensor([[0.5, 0.4995, 0.0003, 0.0002], [0.4, 0.3, 0.2, 0.1]])
    student = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]])
    stored = top_of(teacher.log(), KEEP).probabilities()
    golden = torch.tensor([[0.5, 0.4995, 0.00025, 0.00025], [0.4, 0.3, 0.2, 0.1]])
    torch.testing.assert_close(stored, golden, rtol=1e-5, atol=1e-7)
    assert agreement(student, teacher) == pytest.approx(GOLDEN_ALL, abs=1e-6)
    assert agreement(student, stored) == pytest.approx(GOLDEN_ALL, abs=1e-5)


@pytest.mark.parametrize("sureness", [3.0, 6.0])
@pytest.mark.parametrize("noise", [0.2, 1.0])
def test_what_is_not_stored_changes_the_score_by_less_than_a_thousandth(
    sureness: float, noise: float
) -> None:
    """Of teachers that are sure of some words, as trained ones are."""
    torch.manual_seed(0)
    words = torch.randn(200, 3000)
    teacher = (sureness * words).softmax(-1)
    student = (sureness * (words + noise * torch.randn(200, 3000))).softmax(-1)
    stored = top_of(teacher.log(), KEEP).probabilities()
    torch.testing.assert_close(stored.sum(-1), torch.ones(200))
    whole = agreement(student, teacher)
    assert agreement(student, stored) == pytest.approx(whole, abs=1e-3)
    assert 0 < whole < 1


def agreement(student: torch.Tensor, teacher: torch.Tensor) -> float:
    found = Concordance(len(student))
    found.add(student, teacher, np.arange(len(student)))
    return found.result().value


def test_predictions_by_type_of_task() -> None:
    one, logits = Units(torch.arange(2), examples=2), torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    chances = TASK_TYPES["classification"].predicted(logits, one)
    assert chances[0].tolist() == [0.5, 0.5] and float(chances[1, 0]) == pytest.approx(0.880797)
    shifted = TASK_TYPES["classification"].predicted(logits + 5, one)
    torch.testing.assert_close(chances, shifted)
    labels = TASK_TYPES["multi-label"].predicted(logits, one)
    assert labels[1].tolist() == pytest.approx([0.880797, 0.5])
    assert TASK_TYPES["regression"].predicted(logits[:, :1], one).tolist() == [[0.0], [2.0]]
    window = Units(torch.zeros(2, dtype=torch.long), torch.arange(2), examples=1, length=2)
    ends = TASK_TYPES["question-answering"].predicted(logits, window)
    assert ends.sum(0).tolist() == pytest.approx([1, 1])
    assert float(ends[1, 0]) == pytest.approx(0.880797)


@pytest.fixture
def make(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Stepwise]:
    """Makes a run on the small teacher."""

    def pipeline(name: str = "run", **changes: Any) -> Stepwise:
        places = {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
        brief = {k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")}
        own = {**places, **brief, "out": tmp_path / name, **changes}
        return Stepwise(Run.create(load_settings(None, own)))

    return pipeline


def test_the_teacher_itself_agrees_with_itself(make: Callable[..., Stepwise]) -> None:
    pipeline = make(mini_score="agreement")
    same = pipeline.mini.start(Candidate(pipeline.space.teacher))
    assert pipeline.mini.heldout_loss(same) == pytest.approx(0, abs=1e-3)


def test_a_recipe_given_twice_has_one_score(make: Callable[..., Stepwise], tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text("stages: []\n")
    mini = make(recipes=f"default,labels,{again}").mini
    scores = {
        recipe: mini.score(Candidate(SMALL, recipe), Budget())
        for recipe in ("default", "labels", "again")
    }
    assert scores["default"].value == scores["again"].value != scores["labels"].value
    assert scores["default"].interval == scores["again"].interval
    for score in scores.values():
        assert score.interval and score.interval[0] <= score.value <= score.interval[1]
        assert -1 <= score.value <= 1


def test_labels_train_but_do_not_score(make: Callable[..., Stepwise]) -> None:
    mini = make(mini_score="agreement", recipe="labels").mini
    candidate = Candidate(SMALL)
    usual = mini.score(candidate, Budget()).value

    def with_wrong_labels(part: str) -> float:
        labels = mini.proxy.data.labels
        assert labels is not None
        wrong = labels.copy()
        wrong[getattr(mini.proxy, part)] = 1 - wrong[getattr(mini.proxy, part)]
        proxy = replace(mini.proxy, data=replace(mini.proxy.data, labels=wrong))
        other = MiniKD(mini.teacher, proxy, mini.settings, mini.runtime)
        return other.score(candidate, Budget()).value

    assert with_wrong_labels("heldout") == usual
    assert with_wrong_labels("training") != usual


def test_stages_keep_their_shares_of_the_budget(make: Callable[..., Stepwise]) -> None:
    mini = make(mini_score="agreement", mini_epochs=3, epochs=2, task_epochs=4, mini_steps=9).mini
    stages = mini.settings.short_stages
    assert [stage.name for stage in stages] == ["hidden", "task"]
    assert [stage.epochs for stage in stages] == pytest.approx([1, 2])
    limits = [mini._schedule_of(stage, mini.settings).max_steps for stage in stages]
    assert limits == [3, 6]
    curves: list[Any] = []
    mini.record = lambda name, stage, points, heldout=None: curves.append(points)
    mini.train(mini.start(Candidate(SMALL)))
    steps = [step for step, _ in curves[0]]
    assert steps == sorted(steps) and steps[-1] == 9


def test_general_stages_learn_from_the_general_teacher_on_the_proxy(
    make: Callable[..., Stepwise], tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"the good cat sees the bad dog number {i}" for i in range(40)))
    pipeline = make(recipes="default,general-transfer", corpus=str(corpus), mini_epochs=1)
    mini = pipeline.mini
    assert mini.general is not None and not mini.general.teacher.has_head
    assert len(mini.general.data) == len(mini.data.data) == len(mini.proxy.training)
    untaught = mini.heldout_loss(mini.untrained(Candidate(SMALL, "general-transfer")))
    score = mini.score(Candidate(SMALL, "general-transfer"), Budget())
    assert -1 <= score.value <= 1 and 1 - score.value != untaught
    assert score.student.parts.keys() == {"hidden"}
    # What the general teacher's projections learnt does not go on.
    assert score.student.model.config.num_hidden_layers == 2


def test_filters_of_a_teacher_are_learnt_on_the_proxy(make: Callable[..., Stepwise]) -> None:
    mini = make(recipes="default,ted", mini_epochs=1).mini
    first, second = (mini.score(Candidate(SMALL, "ted"), Budget()) for _ in range(2))
    assert -1 <= first.value <= 1 and first.value == second.value
    assert "filtered" in first.student.parts
