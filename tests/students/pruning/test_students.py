"""How far a teacher is pruned for a speed-up that is met as timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from kdnas.distillation.batches import batches_once
from kdnas.errors import MissedLimitError
from kdnas.files.artifact import key_of
from kdnas.runtime.device import Runtime
from kdnas.space import PrunedArchitecture, Pruning
from kdnas.space.pruning import gradually
from kdnas.students.pruning import PrunedStudents
from kdnas.students.pruning.speed import LatencyTable, neuron_levels
from kdnas.students.pruning.students import MARGIN
from kdnas.tasks import encode, load_data, load_spec
from kdnas.teachers.load import load_teacher

# A head takes 1 ms, a neuron 1/8 ms, the rest 2 ms.
TABLE = LatencyTable(
    38.0, 2.0, {n: float(n) for n in range(5)}, {n: n / 8 for n in neuron_levels(64)}, 3
)


@pytest.fixture
def students(
    tmp_path: Path, make_teacher: Callable[..., Path], data_folder: Path, runtime: Runtime
) -> Callable[[Callable[[PrunedArchitecture], float]], PrunedStudents]:
    teacher = load_teacher(str(make_teacher("bert")), load_spec("mrpc"))
    task = load_data(load_spec("mrpc"), data_folder, splits=("train",), optional=())
    rows = encode(task.splits["train"], teacher.tokenizer, 32)
    return lambda speedup: PrunedStudents(
        teacher=teacher.model,
        rows=partial(batches_once, rows, teacher.pad_id, torch.device("cpu")),
        runtime=runtime,
        folder=tmp_path,
        key={},
        table=lambda: TABLE,
        speedup=speedup,
        trained=lambda _: teacher.model,
        content=lambda _: "as trained first",
    )


@pytest.mark.parametrize("error", [0.7, 1.0, 1.4])
def test_the_slowest_that_keeps_the_speed_up_is_taken(
    students: Callable[..., PrunedStudents], error: float
) -> None:
    """Whatever the table's sums say: timed, layers are faster or slower than that."""
    timed = dict[PrunedArchitecture, float]()

    def speedup(counts: PrunedArchitecture) -> float:
        timed[counts] = error * TABLE.speedup(counts)
        return timed[counts]

    counts = students(speedup).counts(Pruning("magnitude", speedup=2.0))
    enough = [found for found in timed.values() if found >= MARGIN * 2]
    assert timed[counts] == min(enough) < 2.3
    assert len(timed) <= 8


def test_of_what_is_far_too_fast_less_is_pruned(students: Callable[..., PrunedStudents]) -> None:
    """Timed, layers are 2.5 times as fast as the table says: nothing pruned is enough."""
    timed = list[PrunedArchitecture]()

    def speedup(counts: PrunedArchitecture) -> float:
        timed.append(counts)
        return 2.5 * TABLE.speedup(counts)

    counts = students(speedup).counts(Pruning("magnitude", speedup=1.3))
    most = max(timed, key=lambda one: sum(one.num_attention_heads) + sum(one.intermediate_size))
    assert counts == most and len(set(timed)) > 1
    assert all(any(one.intermediate_size) for one in timed)


def test_one_lucky_timing_is_not_enough(students: Callable[..., PrunedStudents]) -> None:
    """Each student is timed as a tenth faster the first time than it is."""
    seen = set[PrunedArchitecture]()

    def speedup(counts: PrunedArchitecture) -> float:
        lucky = 1.1 if counts not in seen else 1.0
        seen.add(counts)
        return lucky * TABLE.speedup(counts)

    counts = students(speedup).counts(Pruning("magnitude", speedup=2.0))
    assert TABLE.speedup(counts) >= 2.0


def test_one_slow_timing_does_not_rule_a_student_out(
    students: Callable[..., PrunedStudents],
) -> None:
    """The second timing of each is that of a busy machine."""
    times = dict[PrunedArchitecture, int]()

    def speedup(counts: PrunedArchitecture) -> float:
        times[counts] = times.get(counts, 0) + 1
        return (0.1 if times[counts] == 2 else 1.0) * TABLE.speedup(counts)

    counts = students(speedup).counts(Pruning("magnitude", speedup=2.0))
    assert times[counts] == 3 and TABLE.speedup(counts) < 2.3


def test_a_speed_up_that_nothing_reaches_is_missed(students: Callable[..., PrunedStudents]) -> None:
    with pytest.raises(MissedLimitError, match="no pruning reaches 3 times .* is 1.50 times"):
        students(lambda _: 1.5).counts(Pruning("magnitude", speedup=3.0))


def test_the_fastest_is_taken_where_it_will_do(
    students: Callable[..., PrunedStudents], capsys: pytest.CaptureFixture[str]
) -> None:
    made = students(lambda counts: 1.9 if size(counts) == 8 else 1.2)
    control, asked = (Pruning(method, speedup=3.0) for method in ("magnitude", "random"))
    made.at_best = lambda pruning: pruning == control
    assert size(counts := made.counts(control)) == 8
    told = " ".join(capsys.readouterr().out.split())
    assert f"none is 3 times as fast; taken is {counts.label}, 1.90 times" in told
    with pytest.raises(MissedLimitError, match="no pruning reaches 3 times"):
        made.counts(asked)


def size(counts: PrunedArchitecture) -> int:
    return 8 * sum(counts.num_attention_heads) + sum(counts.intermediate_size)


def test_the_smallest_is_tried_before_a_speed_up_is_refused(
    students: Callable[..., PrunedStudents],
) -> None:
    """Timed, pruning gains next to nothing until most is gone: small steps do not get there."""
    timed = dict[PrunedArchitecture, float]()

    def speedup(counts: PrunedArchitecture) -> float:
        found = TABLE.speedup(counts)
        timed[counts] = 1.29 if found < 6 else found / 4
        return timed[counts]

    counts = students(speedup).counts(Pruning("magnitude", speedup=1.3))
    assert timed[counts] >= 1.3 and len(timed) <= 12
    assert timed[counts] == min(found for found in timed.values() if found >= MARGIN * 1.3)


def test_what_is_refused_is_refused_of_the_smallest(
    students: Callable[..., PrunedStudents],
) -> None:
    timed = list[PrunedArchitecture]()

    def speedup(counts: PrunedArchitecture) -> float:
        timed.append(counts)
        return 1.19 if size(counts) > 100 else 1.1  # smaller, and slower: it is timed again

    with pytest.raises(MissedLimitError) as refused:
        students(speedup).counts(Pruning("magnitude", speedup=1.3))
    smallest = min(timed, key=size)
    assert size(smallest) == 8 and timed.count(smallest) == 3
    assert f"the smallest student ({smallest.label}), timed" in str(refused.value)
    assert "is 1.10 times as fast at best" in str(refused.value)


def test_a_lucky_timing_of_a_large_student_does_not_end_it(
    students: Callable[..., PrunedStudents],
) -> None:
    """The first is far too slow, and timed once as fast enough."""
    timed = list[PrunedArchitecture]()

    def speedup(counts: PrunedArchitecture) -> float:
        timed.append(counts)
        return 2.1 if len(timed) == 1 else 0.6 * TABLE.speedup(counts)

    counts = students(speedup).counts(Pruning("magnitude", speedup=2.0))
    assert MARGIN * 2.0 <= 0.6 * TABLE.speedup(counts) < 2.3


def test_keys_name_the_student_that_is_pruned_further(
    students: Callable[..., PrunedStudents], tmp_path: Path
) -> None:
    """Those of students of the teacher stay: runs go on with what they found out before."""
    made, known = students(lambda _: 2.1), {"student": "as trained first"}
    first, second = gradually("magnitude", (1.3, 2.0))
    for pruning, names, own in (
        (first, ("magnitude", "magnitude-1.3x"), {}),
        (second, ("magnitude-after-1.3x", "magnitude-1.3x,2x"), known),
    ):
        made.counts(pruning)
        which = {"method": "magnitude", "after": pruning.before.params, "seed": 0}
        assert key_of(tmp_path / f"{names[0]}.safetensors") == {**which, **own}
        assert key_of(tmp_path / f"shape-{names[1]}.json") == {**pruning.params, **own}
