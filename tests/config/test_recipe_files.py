"""Recipes by name or file: what they decide, what a user's own options decide, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Said

from kdnas.config import Settings, find_recipe, load_settings, settings_of
from kdnas.config.recipe import Stage
from kdnas.config.recipe_file import BUILT_IN, built_in_names
from kdnas.errors import KdnasError
from kdnas.recipes.check import check_recipe, check_weights
from kdnas.recipes.spelled_out import spelled_out
from kdnas.runs.run_folder import Run, dump
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import PrunedArchitecture
from kdnas.tasks import load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.workflow.preparing.records import recipe_record

TEACHER = Architecture(6, 12, 384, 1536, "gelu")
STAGE = {"name": "a", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-3}


@pytest.mark.parametrize("name", built_in_names())
def test_every_built_in_recipe_is_whole(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.summary and len(recipe.summary) <= 90
    assert ("--corpus" in (recipe.needs or "")) == recipe.needs_corpus
    settings = load_settings((), {"recipe": name, "corpus": "a"})
    check_recipe(settings)
    assert settings.recipe == name and settings.stages == recipe.stages
    if recipe.needs_corpus:
        other = find_recipe(recipe.without_corpus or "")
        assert not other.needs_corpus
        with pytest.raises(KdnasError, match=f"--corpus, or take --recipe {other.name}, which"):
            load_settings((), {"recipe": name})


def test_a_factor_scales_the_rates_of_all_stages(tmp_path: Path) -> None:
    plain, slow = find_recipe("relations"), find_recipe("relations@0.3")
    assert slow.name == slow.short_name == "relations@0.3" and slow.settings == plain.settings
    assert [s.lr for s in slow.stages] == pytest.approx([0.3 * s.lr for s in plain.stages])
    assert [s.losses for s in slow.stages] == [s.losses for s in plain.stages]
    settings = load_settings((), {"recipe": " relations@0.30 "})
    assert settings.recipe == "relations@0.3" and settings.stages == slow.stages
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"stages": [STAGE]}))
    own = find_recipe(f"{file}@2")
    assert own.stages[0].lr == 2e-3 and own.short_name == "mine@2" and own.name == f"{file}@2"
    offered = load_settings((), {"recipes": f"relations,relations@0.3,{file}@2"}).offered
    assert [one["stages"][0]["lr"] for one in offered.values()] == [1e-3, pytest.approx(3e-4), 2e-3]


def test_a_name_multiplies_the_weights_of_losses_in_all_stages(tmp_path: Path) -> None:
    plain, other = find_recipe("states"), find_recipe("states@task=3@0.3@hidden=0.5")
    assert other.name == other.short_name == "states@0.3@hidden=0.5@task=3"
    assert [s.losses for s in other.stages] == [
        {"hidden": 0.5},
        {"task": 3.0, "logits": 1.0, "hidden": 0.5},
    ]
    assert [s.lr for s in other.stages] == pytest.approx([0.3 * s.lr for s in plain.stages])
    assert other == find_recipe("states@hidden=0.50@0.3@task=3") and other.stages != plain.stages
    file, losses = tmp_path / "mine.yaml", {"task": 1, "hidden": [1, 0]}
    file.write_text(yaml.safe_dump({"stages": [{**STAGE, "losses": losses}]}))
    given = f"relations,{file}@hidden=4,{file}"
    offered = load_settings((), {"recipes": given}).offered
    assert list(offered) == ["relations", "mine@hidden=4", "mine"]
    assert offered["mine@hidden=4"]["stages"][0]["losses"] == {"task": 1.0, "hidden": [4.0, 0.0]}
    decoders = find_recipe("transfer@decoder-hidden=2").stages
    plain_ones = find_recipe("transfer").stages
    assert [s.decoder_losses.get("decoder-hidden") for s in decoders] != [
        s.decoder_losses.get("decoder-hidden") for s in plain_ones
    ]


def test_stages_that_options_make_have_such_weights_too(tmp_path: Path) -> None:
    given: dict[str, Any] = {"logit_weight": 0.5, "hidden_weight": 4}
    word = "default@task=3@hidden=0.5@logits=2"
    settings = load_settings((), {"recipe": word, **given})
    assert settings.recipe == "default@hidden=0.5@logits=2@task=3"
    wanted = [{"hidden": 0.5}, {"task": 3.0, "logits": 1.0, "hidden": 2.0}]
    assert [stage.losses for stage in settings.full_stages] == wanted
    config, file = tmp_path / "config.yaml", tmp_path / "own.yaml"
    config.write_text(dump(settings))
    again = load_settings(config, {})
    assert again == settings and load_settings((), {}, config).full_stages == again.full_stages
    file.write_text("logit_weight: 3\n")
    offered = load_settings((), {"recipes": f"{file}@logits=2,default"})
    assert settings_of(offered, "own@logits=2").full_stages[1].losses["logits"] == 6
    assert settings_of(offered, "default").full_stages == Settings().full_stages
    several = load_settings((), {"recipes": [word, "default@logits=2"], **given})
    assert settings_of(several, settings.recipe).full_stages == settings.full_stages
    recorded = {"recipe": "default@logits=2", "teacher_predictions": "said.jsonl"}
    assert load_settings((), recorded).full_stages[0].losses == {"logits": 2.0}
    assert load_settings((), {"recipe": "default"}, config).full_stages[1].losses["logits"] == 0.5


def test_the_score_of_one_recipe_does_not_hang_on_its_weights() -> None:
    for name in ("states@hidden=9", "default@hidden=9"):
        settings = load_settings((), {"recipe": name})
        assert settings.mini_stage == Settings().mini_stage == settings.short_stages[0]
        assert settings.scored_losses == Settings().scored_losses


def test_weights_decide_a_student_and_their_order_does_not() -> None:
    words = ("relations@logits=2@task=3", "relations@task=3@logits=2", "relations@logits=2")
    first, second, third = (recipe_record(load_settings((), {"recipe": w})) for w in words)
    assert first == second != third
    plain = recipe_record(load_settings((), {"recipe": "default@logits=2"}))
    assert plain != recipe_record(Settings())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("relations@hidden=2", "relations has no loss 'hidden'; it has relations, task, logits"),
        ("relations@logit=2", "relations has no loss 'logit'; it has relations, task, logits"),
        ("relations@0.3@=2", "relations has no loss ''; it has relations"),
        ("relations@logits=1e7", "1e+07 times the recipe's: expected at most 1,000,000"),
        ("default@logits=1e7", "1e+07 times the recipe's: expected at most 1,000,000"),
        ("relation@logits=2", "unknown recipe 'relation'; did you mean 'relations'?"),
    ],
)
def test_weights_of_other_losses_are_refused(word: str, message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        load_settings((), {"recipe": word})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_one_recipe_by_two_spellings_is_no_choice() -> None:
    given = "relations@logits=2@task=3,relations@task=3.0@logits=2"
    with pytest.raises(KdnasError, match="two are called 'relations@logits=2@task=3'; leave one"):
        load_settings((), {"recipes": given})
    found = load_settings((), {"recipes": "Relations@task=3.0@logits=2,pkd"})
    assert found.recipes == "relations@logits=2@task=3,pkd"
    with pytest.raises(KdnasError, match="--recipe default@logits=2: there are stages, too"):
        load_settings((), {"recipe": "default@logits=2", "stages": [STAGE]})


def test_losses_that_a_teacher_cannot_give_have_no_weight() -> None:
    spec = load_spec("mrpc")
    usual = with_type_defaults(load_settings((), {"recipe": "default@relations=2"}), spec)
    check_weights(usual)
    for word, head in (("default@hidden=2", True), ("default@logits=2", False)):
        settings = with_type_defaults(load_settings((), {"recipe": word}), spec)
        with pytest.raises(KdnasError, match="default has no loss '.*'; it has relations, task"):
            check_weights(settings, has_head=head)
    with pytest.raises(KdnasError, match="has no loss 'decoder-hidden'"):
        check_weights(load_settings((), {"recipe": "transfer@decoder-hidden=2"}))


def test_a_file_has_an_absolute_path_whatever_stands_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(yaml.safe_dump({"stages": [STAGE]}))
    run = Run.create(load_settings((), {"recipe": "own.yaml@2@task=3", "out": "run"}))
    assert run.settings.recipe == f"{tmp_path.resolve() / 'own.yaml'}@2@task=3"
    assert Run.create(load_settings((), {"recipe": "pkd@task=3", "out": "b"})).settings.recipe == (
        "pkd@task=3"
    )


@pytest.mark.parametrize("name", ["tinybert@0.5", "tinybert-task@logits=2", "default@logits=2"])
def test_what_is_printed_with_changes_is_the_whole_recipe(
    name: str, command: Said, tmp_path: Path
) -> None:
    assert command("recipes", name)[0] == 0
    file = tmp_path / "own.yaml"
    file.write_text(command.all)
    found, meant = find_recipe(str(file)), find_recipe(name)
    assert (found.needs, found.without_corpus) == (meant.needs, meant.without_corpus)
    if meant.stages:
        assert found.settings == meant.settings
        assert [s.model_dump() for s in found.stages] == [s.model_dump() for s in meant.stages]
    else:
        assert found.stages[1].losses == {"task": 1, "logits": 2, "relations": 1}
    assert command("recipes", "default@hidden=2")[0] == 2


def test_printed_with_a_factor_a_recipe_has_its_rates(command: Said, tmp_path: Path) -> None:
    assert command("recipes", "relations@0.3")[0] == 0
    file = tmp_path / "slow.yaml"
    file.write_text(command.all)
    found, slow = find_recipe(str(file)), find_recipe("relations@0.3")
    assert [s.lr for s in found.stages] == pytest.approx([s.lr for s in slow.stages])
    assert [s.losses for s in found.stages] == [s.losses for s in slow.stages]
    assert found.settings == slow.settings


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("relations@x", "invalid recipe 'relations@x': expected one number above 0 behind the @"),
        ("relations@0", "expected one number above 0 behind the @, such as relations@0.3"),
        ("relations@2@2", "expected one number above 0"),
        ("relations@1e9", "learning rates of 500000 to 1e+06; expected 1e-09 to 1"),
        ("default@0.3", "default has no stages whose rates could be scaled; give --lr"),
        ("relation@0.3", "unknown recipe 'relation'; did you mean 'relations'?"),
    ],
)
def test_other_factors_are_refused(word: str, message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        load_settings((), {"recipe": word})
    assert message in str(caught.value)


def test_students_without_layers_have_a_recipe_of_their_own() -> None:
    given: dict[str, Any] = {"architecture": "0x16"}
    settings = load_settings((), given)
    assert settings.recipe == "static" and settings.students == "static" and settings.stages
    assert load_settings((), {**given, "recipe": "logits"}).recipe == "logits"
    recorded = load_settings((), {**given, "teacher_predictions": "said.jsonl"})
    assert recorded.full_stages == settings.full_stages
    short = load_settings((), given, {"epochs": 1, "mini_epochs": 1})
    assert short.full_stages == settings.full_stages, "a short run's plain stages are others'"
    with pytest.raises(KdnasError) as caught:
        load_settings((), {**given, "lr": 0.01})
    assert str(caught.value) == (
        "invalid --lr 0.01: recipe static has stages, which set their own; change it in a recipe "
        "file of your own (kdnas recipes static prints this one)"
    )


@pytest.mark.parametrize("how", [{"architecture": "0x16"}, {"recipe": "logits"}])
def test_what_stages_set_is_refused_at_its_default_too(how: dict[str, Any]) -> None:
    """Where it is given; a run's config.yaml has a value for each."""
    with pytest.raises(KdnasError, match=r"^invalid --lr 0\.001: recipe .* has stages"):
        load_settings((), {**how, "lr": Settings().lr})
    settings = load_settings((), how)
    assert load_settings((), {"trials": 9}, dict(settings)).stages == settings.stages


def test_the_default_is_what_holds_without_a_recipe() -> None:
    assert load_settings((), {"recipe": "default"}) == load_settings((), {}) == Settings()
    assert built_in_names()[0] == "default"
    short = {"epochs": 1, "stages": [STAGE]}
    assert load_settings((), {"recipe": "default"}, {"epochs": 1}).epochs == 1
    assert load_settings((), {"recipe": "default"}, short).stages == ()
    _, told = spelled_out(find_recipe("default"))
    _same_stages(told, with_type_defaults(Settings(), load_spec("mrpc")))
    _same_stages(yaml.safe_load((BUILT_IN / "states.yaml").read_text())["stages"], Settings())
    of_texts = yaml.safe_load((BUILT_IN / "relations.yaml").read_text())["stages"]
    _same_stages(of_texts, with_type_defaults(Settings(), load_spec("stsb")))


def _same_stages(told: list[dict[str, Any]], settings: Settings) -> None:
    assert [Stage(**one).model_dump() for one in told] == [
        s.model_dump() for s in settings.full_stages
    ]


def test_what_a_user_sets_comes_after_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("recipe: tinybert-task\nmapping: last\n")
    settings = load_settings([file], {"transfer_rows": 7})
    assert (settings.mapping, settings.transfer_rows) == ("last", 7)
    assert settings.transfer_methods == {"mask": 1, "replace": 2, "refill": 2}
    assert settings.space == {"num_attention_heads": ["teacher"]}
    file.write_text("space: {num_hidden_layers: [2]}\n")
    both = load_settings([file], {"recipe": "tinybert-task"}).space
    assert both == {"num_attention_heads": ["teacher"], "num_hidden_layers": [2]}
    file.write_text("space: {num_attention_heads: [2]}\n")
    assert load_settings([file], {"recipe": "tinybert-task"}).space["num_attention_heads"] == [2]
    assert load_settings([file], {"recipe": "labels"}).inherit is False


def test_a_file_of_a_users_own_has_the_same_form(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    shutil.copy(BUILT_IN / "tinybert-task.yaml", own)
    settings = load_settings((), {"recipe": str(own)})
    named = load_settings((), {"recipe": "TinyBERT_task"})
    assert settings == named.model_copy(update={"recipe": str(own)})
    own.write_text("task_epochs: 7\n")
    assert load_settings((), {"recipe": str(own)}).full_stages[1].epochs == 7


def test_stages_of_a_recipe_take_the_place_of_what_holds_otherwise() -> None:
    short = {"epochs": 1, "task_epochs": 1, "mini_epochs": 1}
    settings = load_settings((), {"recipe": "logits"}, short)
    assert (settings.epochs, settings.mini_epochs) == (3, 1)
    assert [stage.name for stage in settings.full_stages] == ["task"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"recipe": "labls"}, "unknown recipe 'labls'; did you mean 'labels'? (`kdnas recipes`"),
        ({"recipe": "zzz"}, "unknown recipe 'zzz'; known: default, "),
        ({"recipe": ["logits"]}, "invalid --recipe ['logits']: expected a text"),
        ({"recipe": " "}, "invalid --recipe ' ': it is empty"),
        ({"recipe": "none.yaml"}, "cannot read none.yaml: No such file"),
        (
            {"recipe": "logits", "task_lr": 0.1},
            "invalid --task-lr 0.1: recipe logits has stages, which set their own; change it in a "
            "recipe file of your own (kdnas recipes logits prints this one)",
        ),
        ({"recipe": "logits", "stages": [STAGE]}, "invalid --recipe logits: there are stages, too"),
        ({"summary": "a"}, "'summary' belongs to a recipe; give its file as --recipe"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        load_settings((), flags)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "it holds a list"),
        ("trials: 5", "'trials' is no part of a recipe; give it with --config or as a flag"),
        ("sumary: a", "unknown key 'sumary'; did you mean 'summary'?"),
        ("summary: [a]", "invalid summary ['a']: expected a text"),
        ("mapping: round", "invalid mapping round: expected skip+last, skip"),
        ("stages: 5", "invalid stages 5: expected a list"),
        ("stages: [{name: a}]", "missing stages.0.data"),
        (
            "stages: [{name: a, dta: task, losses: {task: 1}, epochs: 1, lr: 1e-3}]",
            "unknown key 'dta' of stage 'a'; did you mean 'data'?",
        ),
        ("stages: [{name: A}]", "invalid stages.0.name A"),
        ("epochs: 0.0001", "invalid epochs 0.0001: expected 0, or"),
    ],
)
def test_a_bad_file_is_told_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(KdnasError) as caught:
        load_settings((), {"recipe": str(file)})
    told = str(caught.value)
    assert str(file) in told and message in told and "\n" not in told


def test_a_runs_config_holds_what_the_recipe_decided(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    shutil.copy(BUILT_IN / "logits.yaml", own)
    run = Run.create(load_settings((), {"recipe": str(own), "out": str(tmp_path / "run")}))
    own.unlink()
    opened = Run.open(run.folder).settings
    assert opened == run.settings and opened.stages == find_recipe("logits").stages
    copied = load_settings([run.folder / "config.yaml"], {})
    assert copied == opened


def test_a_run_goes_on_with_other_stages_but_not_with_another_method(tmp_path: Path) -> None:
    run = Run.create(Settings(out=tmp_path / "run", epochs=1))
    other = Run.open(run.folder, recipe="logits").settings
    assert other.stages == find_recipe("logits").stages and other.recipe == "logits"
    back = Run.open(run.folder, recipe="default").settings
    assert not back.stages and back.recipe == "default"
    run = Run.create(Settings(out=tmp_path / "other"))
    with pytest.raises(KdnasError, match="begun with --inherit True.*False \\(recipe 'labels'\\)"):
        Run.open(run.folder, recipe="labels")


def test_the_command_lists_and_prints_them(command: Said, tmp_path: Path) -> None:
    command.all = ""
    assert command("recipes")[0] == 0 and command("recipes", "logits")[0] == 0
    assert "needs a corpus" in command.all and "after_mini_kd: false" in command.all
    assert all(name in command.all for name in built_in_names())
    command.all = ""
    command("recipes", "--json")
    assert {entry["name"] for entry in json.loads(command.all)} == set(built_in_names())
    command.all = ""
    command("recipes", "logits", "--json")
    printed = json.loads(command.all)
    (tmp_path / "own.yaml").write_text(printed["yaml"])
    assert printed["stages"][0]["losses"] == {"task": 0.5, "logits": 0.5}
    assert find_recipe(str(tmp_path / "own.yaml")).stages == find_recipe("logits").stages
    assert command("recipes", "lables") == (2, command.all.splitlines()[-1] + "\n")


def test_the_default_is_printed_with_the_stages_that_it_makes(
    command: Said, tmp_path: Path
) -> None:
    assert command("recipes", "default") == (0, "")
    own = tmp_path / "own.yaml"
    own.write_text(command.all)
    told = " ".join(command.all.replace("# ", "").split())
    assert "for tasks of classification and regression" in told
    mine = load_settings(None, {"recipe": str(own)})
    usual = with_type_defaults(load_settings(None, {}), load_spec("sst2"))
    assert [stage.model_dump() for stage in mine.full_stages] == [
        stage.model_dump() for stage in usual.full_stages
    ]
    assert mine.follows_mini_kd == usual.follows_mini_kd


def test_a_recipe_for_encoder_decoders_says_so() -> None:
    with pytest.raises(KdnasError, match="no decoder; recipe wide needs an encoder-decoder"):
        check_recipe(load_settings(None, {"recipe": "wide"}), TEACHER)
    stage = {**STAGE, "losses": {"task": 1, "cross-attention": 1}}
    with pytest.raises(KdnasError, match="from cross-attention, and .* no decoder; leave it out"):
        check_recipe(load_settings(None, {"stages": [stage]}), TEACHER)
    check_recipe(load_settings(None, {"recipe": "transfer"}), TEACHER)


def test_pruned_students_are_pointed_to_a_recipe_that_they_can_have() -> None:
    whole = PrunedArchitecture.whole(TEACHER)
    with pytest.raises(KdnasError, match="pruned students lose some; use .* --recipe"):
        check_recipe(load_settings(None, {"recipe": "tinybert-task"}), TEACHER, [whole])
    for recipe in ("relations", "states"):
        check_recipe(load_settings(None, {"recipe": recipe}), TEACHER, [whole])


def test_outputs_alone_of_a_black_box_teach_students_without_layers() -> None:
    settings = load_settings(None, {"recipe": "static", "teacher_predictions": "said.jsonl"})
    static = Architecture(0, 1, 16, 1, "gelu")
    check_recipe(settings, TEACHER, [static], recorded=True)
    compared = load_settings(None, {"recipe": "states"})
    with pytest.raises(KdnasError, match="learns from hidden, which reads more of a teacher"):
        check_recipe(compared, TEACHER, [static], recorded=True)


SWITCHED = [
    *(("relations", "states"), ("relations", "default"), ("labels", "states"), ("pkd", "states")),
    *(("wide", "relations"), ("states", "states"), ("default", "logits"), ("logits", "default")),
]


@pytest.mark.parametrize(("before", "after"), SWITCHED)
def test_another_recipe_takes_the_whole_place_of_a_runs(
    before: str, after: str, tmp_path: Path
) -> None:
    """Whether the run is resumed or its config.yaml given with --config."""
    config = tmp_path / "config.yaml"
    config.write_text(dump(load_settings(None, {"recipe": before, "batch_size": 16})))
    wanted = load_settings(None, {"recipe": after, "batch_size": 16})
    assert load_settings(config, {"recipe": after}) == wanted
    assert load_settings((), {"recipe": after}, config) == wanted


def test_what_a_person_set_beside_a_recipe_stays(tmp_path: Path) -> None:
    config, own = tmp_path / "config.yaml", {"inherit": True, "mapping": "last"}
    config.write_text(dump(load_settings(None, {"recipe": "labels", **own})))
    found = load_settings((), {"recipe": "pkd"}, config)
    assert found.mapping == "skip" and found.inherit  # what pkd says itself, and what it does not
    assert load_settings((), {"recipe": "states"}, config).mapping == "last"


def test_a_recipe_of_a_file_that_is_gone_is_left(tmp_path: Path) -> None:
    file, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"stages": [STAGE]}))
    config.write_text(dump(load_settings(None, {"recipe": str(file)})))
    file.unlink()
    assert load_settings((), {"recipe": "states"}, config) == load_settings(
        None, {"recipe": "states"}
    )
