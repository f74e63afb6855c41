"""RUN/curves.jsonl: which curves count of a student that was trained more than once."""

from __future__ import annotations

from pathlib import Path

from kdnas.files.curves import MINI_KD, Curves


def test_a_student_that_is_trained_again_has_the_stages_of_its_last_training(
    tmp_path: Path,
) -> None:
    curves = Curves(tmp_path)

    def train(name: str, stage: str, after: list[str] | None) -> set[tuple[str, str]]:
        curves.record(name, stage, [(0, 1.0)], after=after)
        return {(curve["name"], curve["stage"]) for curve in curves.read()}

    train("teacher", "fine-tuning", None)
    others = train("student seed 1", "hidden", None)  # of a run that began before it was known
    begun = train("student", MINI_KD, None)
    train("student", "hidden", [])
    both = train("student", "task", ["hidden"])
    assert both == {*begun, ("student", "hidden"), ("student", "task")}
    assert train("student", "task", ["hidden"]) == both  # its last stage alone is trained again
    assert train("student", "hidden", []) == both - {("student", "task")}
    assert train("student", "task", []) == both - {("student", "hidden")}
    alone = train("student seed 1", "task", [])
    assert not alone & (others - {("teacher", "fine-tuning")})
