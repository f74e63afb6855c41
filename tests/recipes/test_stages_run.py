from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.config import Settings, load_settings, validated
from kdnas.config.recipe import Stage, Weight
from kdnas.errors import KdnasError
from kdnas.recipes.check import check_recipe
from kdnas.recipes.stages import loss_options, schedule_of, shapes_of, teacher_request
from kdnas.space import PrunedArchitecture
from kdnas.students.checkpoint import student_artifact
from kdnas.students.pruning import Kept, sliced
from kdnas.students.state import StudentState
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher


@pytest.mark.parametrize(
    ("losses", "given", "frozen"),
    [
        ({"hidden": 1}, None, True),
        ({"hidden": 1, "embeddings": 1}, None, False),
        ({"hidden": 1, "embeddings": 0}, None, True),
        ({"hidden": 1, "embeddings": 1}, True, True),
        ({"hidden": 1, "task": 1}, None, False),
    ],
)
def test_word_embeddings_are_trained_where_something_is_learnt_of_them(
    losses: dict[str, Weight], given: bool | None, frozen: bool
) -> None:
    stage = Stage(
        name="some", data="task", losses=losses, epochs=1, lr=1e-3, freeze_embeddings=given
    )
    assert schedule_of(stage, Settings()).freeze_embeddings is frozen
    assert not schedule_of(stage, Settings(inherit=False)).freeze_embeddings or given


GENERAL = {"name": "general", "data": "corpus", "losses": {"hidden": 1}, "epochs": 1, "lr": 1e-3}
TASK = {"name": "task", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-4}


def test_options_of_a_loss_are_the_stages_else_the_runs() -> None:
    given = {**TASK, "losses": {"logits": 1, "hidden": 1}, "logit_loss": "ce", "mapping": "last"}
    settings = Settings(stages=[given], mapping="skip", normalisation="raw")
    stage = settings.full_stages[0]
    logits, hidden = (loss_options(name, stage, settings) for name in ("logits", "hidden"))
    assert logits.model_dump() == {"temperature": 2.0, "logit_loss": "ce"}
    assert hidden.model_dump() == {
        "mapping": "last", "normalisation": "raw", "shared_projection": False
    }  # fmt: skip
    assert validated(settings.model_dump(mode="json")) == settings
    warmer = Settings(temperature=3)
    assert loss_options("logits", warmer.full_stages[1], warmer).model_dump()["temperature"] == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"stages": [{**TASK, "epoch": 1}]},
            "unknown key 'epoch' of stage 'task'; did you mean 'epochs'?",
        ),
        (
            {"stages": [{**TASK, "losses": {"hiden": 1}}]},
            "unknown loss 'hiden' of stage 'task'; did you mean 'hidden'?",
        ),
        (
            {"stages": [{**TASK, "losses": {"hidden": 1}}]},
            "the last stage, 'task', does not train the head; give it a loss that does: task, log",
        ),
        (
            {"stages": [{**GENERAL, "losses": {"logits": 1}}, TASK], "corpus": "a"},
            "stage 'general' learns from logits, which a general teacher cannot give",
        ),
        (
            {
                "stages": [{**GENERAL, "teacher": "task", "losses": {"task": 1}}, TASK],
                "corpus": "a",
            },
            "stage 'general' learns from task, but a corpus has no labels",
        ),
        ({"mini_score": "logits"}, "--mini-score is logits, but mini_losses has no logits"),
        ({"mini_score": "logit"}, "invalid --mini-score logit: unknown loss; did you mean"),
        ({"mini_losses": {"task": 1}}, "mini_losses has 'task', which needs labels; give one of"),
    ],
)
def test_losses_that_cannot_be_are_refused_in_one_line(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdnasError) as caught:
        check_recipe(validated(values))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_pruned_teacher_is_asked_for_a_layer_that_has_heads(
    teacher_folder: Path, tmp_path: Path
) -> None:
    """Its checkpoint is dense, with zeros for the heads that are gone."""
    whole, spec = load_teacher(str(teacher_folder), load_spec("sst2")), load_spec("sst2")
    kept = Kept.of([[0, 1, 2, 3], [1], []], [range(64)] * 3)
    student_artifact(tmp_path / "pruned", {"a": 1}, whole.tokenizer).write(
        sliced(whole.model, kept)
    )
    pruned, settings = (
        load_teacher(str(tmp_path / "pruned"), spec),
        load_settings(None, {"recipe": "relations"}),
    )
    stage = next(one for one in settings.full_stages if "relations" in one.losses)
    shape = PrunedArchitecture((1, 1, 1), 32, (8, 8, 8), "gelu")
    for teacher, layer in ((whole, 3), (pruned, 2)):
        states = teacher_request(stage, shape, teacher, settings).states
        assert {state.layer for state in states} == {layer}
    assert shapes_of(pruned, StudentState(whole.model)).heads_left == kept.heads
