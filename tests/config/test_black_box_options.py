"""Options of a run with a black-box teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.config import Settings, validated
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import resolve

FILE = {"teacher_predictions": "said.jsonl"}
GENERAL = {"name": "g", "data": "corpus", "losses": {"hidden": 1}, "epochs": 1, "lr": 1e-3}
TASK = {"name": "t", "data": "task", "losses": {"task": 1, "logits": 1}, "epochs": 1, "lr": 1e-3}
ON_CORPUS = {**TASK, "teacher": "task", "data": "corpus"}


def test_candidates_are_scored_by_their_logits() -> None:
    settings = validated(FILE)
    assert settings.mini_losses == {"logits": 1.0} and settings.scored_losses == ("logits",)
    assert validated({**FILE, "mini_losses": {"logits": 2}}).mini_losses == {"logits": 2.0}
    assert Settings().mini_losses == {"hidden": 1.0}


def test_the_recipe_reads_outputs_and_all_rows() -> None:
    first, task = validated({**FILE, "logit_weight": 0.5, "epochs": 2}).full_stages
    assert (first.name, first.data, first.losses, first.epochs) == (
        *("logits", "transfer", {"logits": 1.0}),
        2.0,
    )
    assert (task.data, task.losses) == ("transfer", {"task": 1.0, "logits": 0.5})
    assert first.options == task.options == {"temperature": 2.0}
    assert len(validated({**FILE, "epochs": 0}).full_stages) == 1
    assert validated({**FILE, "stages": [TASK]}).full_stages[0].name == "t"


def test_the_base_and_the_folder_of_the_run(tmp_path: Path) -> None:
    assert validated({**FILE, "student_base": "bert-tiny"}).base == "bert-tiny"
    assert validated(FILE).base is None and validated({"teacher": "x"}).base == "x"
    said = {"teacher_predictions": str(tmp_path / "said.jsonl.gz"), "student_base": str(tmp_path)}
    found = resolve(validated({**said, "task": "mrpc"}))
    assert found.out is not None and found.out.name == "said-mrpc"
    assert found.teacher_predictions == tmp_path / "said.jsonl.gz"
    assert found.student_base == str(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**FILE, "teacher": "roberta-base"},
            "--teacher and --teacher-predictions contradict each other: the file takes the "
            "teacher's place (--student-base names what students start from)",
        ),
        (
            {**FILE, "fresh_head": True},
            "--fresh-head and --teacher-predictions contradict each other: there is no teacher to "
            "load or train",
        ),
        (
            {**FILE, "hidden_weight": 0.5},
            "--hidden-weight and --teacher-predictions contradict each other: the teacher's hidden "
            "states are not known",
        ),
        (
            {**FILE, "transfer_methods": {"mask": 1}},
            "--transfer-methods and --teacher-predictions contradict each other: the teacher "
            "cannot be asked about texts that are not in the file",
        ),
        (
            {**FILE, "corpus": "texts.txt"},
            "--corpus is for general stages in a run with --teacher-predictions; add the texts to "
            "the file, with what the teacher says of them",
        ),
        (
            {
                **FILE,
                "corpus": "texts.txt",
                "stages": [{**TASK, "teacher": "task", "data": "corpus"}],
            },
            "stage 't' learns from a black-box teacher on a corpus, but the teacher cannot be "
            "asked about texts that are not in the file; give it teacher: general, or data: "
            "transfer",
        ),
        (
            {"student_base": "bert-tiny"},
            "--student-base belongs to --teacher-predictions; give both, or name the model with "
            "--teacher",
        ),
        (
            {"labels_stand_in": True},
            "--labels-stand-in belongs to --teacher-predictions; give both",
        ),
    ],
)
def test_what_contradicts_it(values: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        validated(values)
    assert str(caught.value) == message


def test_general_stages_read_a_corpus() -> None:
    """Their teacher is the student base, which can be run."""
    settings = validated({**FILE, "corpus": "texts.txt", "stages": [GENERAL, TASK]})
    assert settings.full_stages[0].is_general
