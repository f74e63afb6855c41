"""A run that goes on by another recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdnas.config import Settings, load_settings
from kdnas.runs.run_folder import Run
from kdnas.tasks import load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.workflow.preparing import early


def _of_a_recipe(task: str, recipe: str, folder: Path, **others: str) -> Settings:
    """Settings of a new run, as `kdnas search` makes them."""
    found = load_settings((), {"task": task, "recipe": recipe, "out": folder, **others})
    return with_type_defaults(found, load_spec(task))


@pytest.mark.parametrize(
    ("task", "first", "then"),
    [
        ("mrpc", "logits", "default"),
        ("mrpc", "default", "logits"),
        ("mrpc", "pkd", "default@logits=2"),
        ("wnut17", "logits", "default"),
        ("multi30k", "default", "transfer"),
        ("multi30k", "transfer", "transfer"),
        ("multi30k", "logits", "default"),
    ],
)
def test_it_trains_as_a_new_run_by_that_recipe(
    task: str, first: str, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "check_begun", lambda settings: None)  # it would read the data
    monkeypatch.setattr("kdnas.runs.run_folder._refuse_fixed", lambda *of_run: None)
    folder, file = tmp_path / "run", tmp_path / "other.yaml"
    fresh = _of_a_recipe(task, then, folder)
    Run.create(_of_a_recipe(task, first, folder))
    file.write_text(f"recipe: {then}\n")
    again = load_settings(folder / "config.yaml", {"recipe": then})
    found = {
        "resume --recipe": early.open_to_resume(folder, recipe=then).settings,
        "resume --config": early.open_to_resume(folder, [file]).settings,
        "search --config": with_type_defaults(again, load_spec(task)),
    }
    for how, settings in found.items():
        assert settings.full_stages == fresh.full_stages, how
        assert settings.follows_mini_kd == fresh.follows_mini_kd, how


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("minilm", "logits"),
        ("minilm", "minilm@0.3"),
        ("minilm@0.3", "minilm"),
        ("logits", "minilm"),
    ],
)
def test_a_recipe_that_learns_from_a_corpus_may_change(
    first: str, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "check_begun", lambda settings: None)
    (tmp_path / "corpus.txt").write_text("A text.\n")
    corpus, folder, file = str(tmp_path / "corpus.txt"), tmp_path / "run", tmp_path / "other.yaml"
    fresh = _of_a_recipe("mrpc", then, folder, corpus=corpus)
    Run.create(_of_a_recipe("mrpc", first, folder, corpus=corpus))
    file.write_text(f"recipe: {then}\n")
    again = load_settings(folder / "config.yaml", {"recipe": then})
    found = {
        "resume --recipe": early.open_to_resume(folder, recipe=then).settings,
        "resume --config": early.open_to_resume(folder, [file]).settings,
        "search --config": with_type_defaults(again, load_spec("mrpc")),
    }
    for how, settings in found.items():
        assert settings == fresh, how


def test_what_a_user_set_of_the_recipe_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "check_begun", lambda settings: None)
    own = load_settings((), {"task": "mrpc", "epochs": 3, "out": tmp_path / "run"})
    own = own.model_copy(update={"intermediate_losses": {"attention": 1.0}})
    run = Run.create(with_type_defaults(own, load_spec("mrpc")))
    first, _ = early.open_to_resume(run.folder, recipe="default").settings.full_stages
    assert (first.epochs, list(first.losses)) == (3, ["attention"])
