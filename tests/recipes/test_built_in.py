"""Built-in recipes train every type of task, to a plain checkpoint, through interruptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK
from safetensors import safe_open
from support.stepwise import Stepwise
from support.tiny import ADJECTIVES, save_animals, save_mrpc, save_squad, save_topics

from kdnas.config import find_recipe, load_settings
from kdnas.config.recipe_file import built_in_names
from kdnas.distillation import training as core
from kdnas.distillation.checkpoint import Checkpoint
from kdnas.recipes.full import run_recipe
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture
from kdnas.space.candidate import Candidate
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import TASK_TYPES

SMALL, STATIC = Architecture(2, 2, 16, 32, "gelu"), Architecture(0, 1, 16, 1, "gelu")
# Those of encoder-decoders, which are trained in test_pseudo_labels.py.
OF_PAIRS = {"sequence-level", "wide", "narrow"}
TYPES: dict[str, tuple[Callable[[Path], Path], str, dict[str, Any]]] = {
    "classification": (save_mrpc, "mrpc", {}),
    "regression": (save_mrpc, "mrpc", {"text": ["#1 String", "#2 String"], "label": "Quality"}),
    "multi-label": (save_topics, "topics", {"text": "text", "label": "topics"}),
    "token-classification": (save_animals, "animals", {"text": "text"}),
    "question-answering": (save_squad, "squad", {}),
}
# Few rows, and no more epochs than it takes to see that a stage trains.
FEW = {
    **{k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")},
    **{
        "max_train_rows": 20,
        "max_length": 48,
        "transfer_rows": 30,
        "proxy_fraction": 0.9,
        "batch_size": 8,
    },
}
Make = Callable[..., Stepwise]


@pytest.fixture(scope="module")
def prepared(
    teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """Settings by type of task, with a teacher that was fine-tuned on it."""
    found: dict[str, dict[str, Any]] = {}

    def settings_of(kind: str) -> dict[str, Any]:
        if kind not in found:
            place = tmp_path_factory.mktemp(kind)
            save, name, entry = TYPES[kind]
            own = {
                **FEW,
                **{"task": name, "data_dir": str(save(place))},
                **({"tasks": {name: {"type": kind, **entry}}} if entry else {}),
            }
            given = {**own, "teacher": str(teacher_folder), "out": str(place / "run")}
            run = Run.create(load_settings((), given))
            assert Stepwise(run).teacher.has_head
            general = {"general_teacher": str(teacher_folder)}
            found[kind] = {**own, **general, "teacher": str(run.folder / "teacher")}
        return found[kind]

    return settings_of


@pytest.fixture
def make(
    prepared: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Makes a pipeline by a recipe, with a cache of the test's own."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    corpus = tmp_path / "corpus.txt"
    lines = [f"the {a} cat sees a {b} dog" for a in ADJECTIVES for b in ADJECTIVES]
    corpus.write_text("\n".join(lines))

    def pipeline(recipe: str, kind: str, name: str = "run", **changes: Any) -> Stepwise:
        given = {**prepared(kind), "recipe": recipe, "out": str(tmp_path / name), **changes}
        given |= {"corpus": str(corpus)} if find_recipe(recipe).needs_corpus else {}
        given |= {"architecture": "0x16"} if student_of(recipe) == STATIC else {}
        made = Stepwise(Run.create(load_settings((), given)))
        made.check()
        return made

    return pipeline


def student_of(recipe: str) -> Architecture:
    """One that the recipe is for."""
    return STATIC if find_recipe(recipe).settings.get("students") == "static" else SMALL


def cases() -> Iterator[Any]:
    """All pairs; the quick ones have every recipe and every type of task."""
    for name in (name for name in built_in_names() if name not in OF_PAIRS):
        for kind in TYPES:
            if student_of(name) == STATIC and not TASK_TYPES[kind].whole_texts:
                continue
            quick = kind == "classification" or name == "tinybert-task"
            yield pytest.param(name, kind, marks=() if quick else pytest.mark.slow)


def test_every_type_is_here() -> None:
    own = {name for name, kind in TASK_TYPES.items() if type(kind).__module__.startswith("kdnas.")}
    # Encoder-decoders are not among them: these teachers are encoders.
    assert own - {"sequence-to-sequence"} == TYPES.keys()


@pytest.mark.parametrize(("name", "kind"), cases())
def test_a_recipe_trains_every_type_of_task_to_a_plain_checkpoint(
    name: str, kind: str, make: Make
) -> None:
    pipeline = make(name, kind)
    folder = pipeline.run.folder
    state = run_recipe(pipeline.full, Candidate(student_of(name)), folder / "work", "student")
    artifact = student_artifact(folder / "student", {}, pipeline.teacher.tokenizer)
    artifact.write(state.model)
    fresh = type(state.model)(state.model.config)
    with safe_open(folder / "student" / "model.safetensors", "pt") as file:
        assert set(file.keys()) <= fresh.state_dict().keys()
    scores = pipeline.score(artifact.read())
    assert scores and all(abs(value) <= 1 for value in scores.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "tinybert" else pytest.mark.slow)
        for name in built_in_names()
        if find_recipe(name).stages and name not in OF_PAIRS
    ],
)
def test_a_recipe_goes_on_after_an_interruption_in_each_stage(
    name: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: Counter[str] = Counter()
    stops = False

    def count(checkpoint: Checkpoint) -> None:
        assert checkpoint.path is not None
        if checkpoint.path.name == "teacher.pt":  # trained by whichever test comes first
            return
        steps[checkpoint.path.name] += 1
        if stops and steps[checkpoint.path.name] == 2:
            checkpoint.save()
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save_if_due", count)

    def trained(pipeline: Stepwise) -> dict[str, torch.Tensor]:
        folder = pipeline.run.folder / "work"
        student = Candidate(student_of(name))
        return run_recipe(pipeline.full, student, folder, "student").model.state_dict()

    whole = trained(make(name, "classification"))
    expected, stops, interrupted = Counter(steps), True, 0
    steps.clear()
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "other"))
    pipeline = make(name, "classification", "stopped")
    found = None
    while found is None:
        try:
            found = trained(pipeline)
        except KeyboardInterrupt:
            interrupted += 1
            pipeline = Stepwise(Run.open(pipeline.run.folder))
    # Beside the stages, what a loss learns from the teacher alone.
    assert interrupted == len(expected) >= len(pipeline.settings.stages) and steps == expected
    for key, value in whole.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.parametrize(("name", "trained"), [("hidden", True), ("labels", False)])
def test_a_recipe_says_whether_it_goes_on_from_mini_kd(
    name: str, trained: bool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def watched(*arguments: Any, title: str = "", **options: Any) -> Any:
        titles.append(title)
        return core.train(*arguments, title=title, **options)

    monkeypatch.setattr("kdnas.recipes.training.train", watched)
    pipeline = make(name, "classification")
    pipeline.distil(SMALL, None, pipeline.run.folder / "student")
    assert any(":" not in title for title in titles) is trained  # of a stage: `student: task`


def test_the_floor_starts_at_random(make: Make) -> None:
    pipeline = make("labels", "classification")
    job = pipeline.full
    assert not job.settings.inherit and not job.resources.general_teacher
    first, second = (
        run_recipe(
            replace(job, settings=job.settings.model_copy(update={"seed": seed})),
            Candidate(SMALL),
            pipeline.run.folder / str(seed),
            "student",
        ).model.state_dict()
        for seed in (0, 1)
    )
    name = next(key for key in first if "word_embeddings" in key)
    assert not torch.allclose(first[name], second[name], atol=1e-2)
