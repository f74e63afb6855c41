"""The recipes that a search chooses between, as settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.config import every_recipe, load_settings, settings_of, validated
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import dump


def test_recipes_are_read_once_and_kept(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "summary: Ours\nmapping: last\ntransfer_rows: 30\nspace: {hidden_act: [relu]}\n"
        "stages: [{name: a, data: transfer, losses: {logits: [1, 0]}, temperature: 3, "
        "epochs: 2, lr: 1e-3}]\n"
    )
    settings = load_settings(None, {"recipes": f"default, {own}", "epochs": 1})
    assert settings.search_over == "shape,recipe" and settings.scores_agreement
    kept = tmp_path / "config.yaml"
    kept.write_text(dump(settings))
    own.unlink()
    for again in (load_settings((), {}, kept), load_settings([kept], {})):
        assert again.offered == settings.offered
        mine, usual = (settings_of(again, name) for name in ("own", "default"))
        assert mine.mapping == "last" and mine.transfer_rows == 30 and not mine.space
        assert mine.full_stages[0].options == {"temperature": 3}
        assert usual.full_stages[0].epochs == 1 and usual.mapping == "skip+last"
        assert list(every_recipe(again)) == ["default", "own"] and not mine.offered


def test_what_a_user_gives_wins_over_a_recipe() -> None:
    settings = load_settings(None, {"recipes": "default,tinybert-task", "mapping": "last"})
    assert settings_of(settings, "tinybert-task").mapping == "last"


@pytest.mark.parametrize("more", [{}, {"budget": "1h"}, {"max_params": 1_000_000}, {"speedup": 2}])
def test_a_search_over_recipes_and_pruning_takes_a_method(more: dict[str, Any]) -> None:
    asked = {"search_over": "shape,recipe,pruning", "recipes": "default,logits"}
    settings = load_settings(None, {**asked, "pruned": "gradient", **more})
    assert settings.searches_pruned and settings.pruned == "gradient"
    for recipe, own in every_recipe(settings).items():
        assert own.searches and own.recipe == recipe
        assert all(getattr(own, name) == getattr(settings, name) for name in more)


def test_one_recipe_is_no_choice() -> None:
    settings = load_settings(None, {"recipes": "pkd"})
    assert settings.recipe == "pkd" and not settings.offered and settings.mini_score == "hidden"
    assert settings_of(settings, "default") is settings
    assert every_recipe(settings) == {"pkd": settings}


def test_a_search_over_recipes_offers_all_that_need_no_corpus() -> None:
    offered = load_settings(None, {"search_over": ["shape", "recipe"]}).offered
    assert {"default", "transfer", "tinybert-task"} <= offered.keys() and "minilm" not in offered
    with_corpus = load_settings(None, {"recipes": "all", "corpus": "texts.txt"})
    assert "minilm" in with_corpus.offered and with_corpus.corpus_rows == 100_000


def test_recipes_that_ask_a_black_box_about_new_texts_are_not_offered() -> None:
    recorded = {"teacher_predictions": "said.jsonl"}
    offered = load_settings(None, {"recipes": "all", **recorded}).offered
    assert {"default", "logits", "static"} <= offered.keys() and "tinybert-task" not in offered
    with pytest.raises(KdnasError, match="'tinybert-task' sets transfer_methods, but the teacher"):
        load_settings(None, {"recipes": "default,tinybert-task", **recorded})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"recipes": "default,minilm"},
            "recipe 'minilm' learns from a corpus, and no --corpus is given; leave",
        ),
        ({"recipes": "default,nope"}, "unknown recipe 'nope'"),
        ({"recipes": True}, "invalid --recipes true: only switches take true or false"),
        ({"recipes": {"pkd": 1}}, "invalid --recipes"),
        ({"recipes": "pkd,pkd"}, "invalid --recipes pkd,pkd: two are called 'pkd'"),
        ({"recipes": "pkd,default", "recipe": "pkd"}, "--recipe and --recipes contradict"),
        ({"recipes": "pkd,default", "mini_score": "hidden"}, "invalid --mini-score hidden: it"),
        ({"recipes": "pkd,default", "rungs": 2}, "invalid --rungs 2: --mini-score agreement"),
        ({"recipes": "pkd,logits", "epochs": 2}, "invalid --epochs 2: all of --recipes have"),
        ({"recipes": "pkd,logits", "search_over": "shape"}, "--search-over shape and --recipes"),
        ({"recipes": "all", "architecture": "half"}, "--recipes and --architecture contradict"),
        ({"search_over": "recipe"}, "invalid --search-over recipe: a search chooses the shape"),
        (
            {"search_over": "depth"},
            "invalid --search-over depth: expected shape, with commas behind it any",
        ),
        ({"mini_score": "agreement", "rungs": 3}, "invalid --rungs 3: --mini-score agreement"),
    ],
)
def test_contradictions_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        load_settings(None, given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_all_recipes_share_cannot_be_set_by_one(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("stages: []\nclass_weights: balanced\n")
    given = {"recipes": f"default,{own}"}
    with pytest.raises(KdnasError, match="recipe 'own' sets class_weights to balanced, which all"):
        load_settings(None, given)
    load_settings(None, {**given, "class_weights": "balanced"})


def test_short_runs_keep_shares_of_the_epochs() -> None:
    usual = validated({"mini_epochs": 2})
    assert usual.short_stages == (usual.mini_stage,)
    settings = validated({"mini_score": "agreement", "mini_epochs": 2, "epochs": 1})
    assert [stage.epochs for stage in settings.short_stages] == [0.5, 1.5]
    assert [s.losses for s in settings.short_stages] == [s.losses for s in settings.full_stages]
