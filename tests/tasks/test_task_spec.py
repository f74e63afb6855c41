"""Tasks by name, from a mapping and from a file; errors are one line."""

from pathlib import Path
from typing import Any

import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TASK_TYPES, TaskSpec, benchmark_names, load_spec
from kdnas.tasks.spec import split_of

GLUE = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


def test_built_in_names() -> None:
    assert benchmark_names() == list(GLUE)
    assert load_spec("ax").benchmark is None and load_spec("rotten-tomatoes").embedded


@pytest.mark.parametrize("name", GLUE)
def test_glue_tasks_name_their_hub_data_set(name: str) -> None:
    spec = load_spec(name)
    assert spec.hub is not None
    assert (spec.hub.path, spec.hub.name) == ("nyu-mll/glue", name)
    assert spec.metrics[0] == {"cola": "mcc", "stsb": "pearson"}.get(name, "accuracy")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("SST-2", "sst2"),
        ("sst-2", "sst2"),
        ("STS-B", "stsb"),
        ("MNLI", "mnli"),
        ("rotten_tomatoes", "rotten-tomatoes"),
    ],
)
def test_letter_case_and_hyphens_do_not_matter(name: str, task: str) -> None:
    assert load_spec(name).name == task


def test_heads() -> None:
    assert load_spec("mnli").num_labels == 3
    assert load_spec("stsb").num_labels == 1
    assert load_spec("stsb").type == "regression"
    assert load_spec("rte").type == "classification"


def test_mnli_is_scored_twice() -> None:
    spec = load_spec("mnli")
    assert spec.evaluation == ("validation_matched", "validation_mismatched")
    assert spec.test_splits == ("test_matched", "test_mismatched")
    assert spec.main_score == "accuracy_matched"
    assert load_spec("rte").main_score == "accuracy"


def test_a_score_names_its_split_where_several_are_scored() -> None:
    spec = load_spec("mnli")
    for split in spec.evaluation:
        assert split_of(spec.score_name("accuracy", split), spec.evaluation) == split
    splits = ("test_one", "test_all_one")
    assert split_of("f1_one (spam)", splits) == "test_one"
    assert split_of("f1_all_one (spam)", splits) == "test_all_one"
    assert split_of("accuracy", ("validation",)) == "validation"
    assert split_of("accuracy", spec.evaluation) is None


def test_short_forms() -> None:
    spec = load_spec("mine", {"mine": {"text": "review", "label": "stars", "hub": "org/set:en"}})
    assert [column.name for column in spec.text] == ["review"]
    assert spec.label[0].name == "stars"
    assert spec.hub is not None
    assert (spec.hub.path, spec.hub.name) == ("org/set", "en")
    assert (spec.metrics, spec.labels, spec.evaluation) == (("accuracy",), None, ("validation",))


@pytest.mark.parametrize("kind", [["classification"], {"classification": 1}, 3])
def test_a_type_that_is_no_name_is_refused(kind: Any) -> None:
    with pytest.raises(KdnasError, match=r"task 'mine': unknown type [\[{3].*; (did you|known)"):
        load_spec("mine", {"mine": {"type": kind}})


def test_regression_has_its_own_default_metrics() -> None:
    spec = load_spec("mine", {"mine": {"text": ["a", "b"], "regression": True}})
    assert spec.metrics == ("pearson", "spearman")


def test_a_user_task_comes_before_a_built_in_one() -> None:
    spec = load_spec("rte", {"rte": {"text": "mine"}})
    assert spec.text[0].name == "mine"


@pytest.mark.parametrize("name", [*GLUE, "rotten-tomatoes"])
def test_a_spec_survives_being_written_down(name: str) -> None:
    spec = load_spec(name)
    assert TaskSpec.model_validate(spec.model_dump()) == spec
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_yaml_file_holds_one_task(tmp_path: Path) -> None:
    path = tmp_path / "polarity.yaml"
    path.write_text('polarity:\n  text: {sentence: ["phrase"]}\n  labels: ["no", "yes"]\n')
    spec = load_spec(path)
    assert (spec.name, spec.labels) == ("polarity", ("no", "yes"))
    assert spec.text[0].headers == ("sentence", "phrase")


def test_a_yaml_file_may_be_the_entry_itself(tmp_path: Path) -> None:
    path = tmp_path / "polarity.yml"
    path.write_text("text: sentence\nlabels: [0, 1]\n")
    spec = load_spec(str(path))
    assert (spec.name, spec.labels) == ("polarity", ("0", "1"))


def test_labels_must_be_known_to_count_them() -> None:
    with pytest.raises(KdnasError, match="read its data first"):
        _ = load_spec("mine", {"mine": {"text": "a"}}).num_labels


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sst3", "unknown task 'sst3'; did you mean sst2"),
        ("mrcp", "did you mean mrpc"),
        ("mime", "did you mean mine"),
        ("?", "known: mine, cola, sst2, mrpc"),
        ("absent.yaml", "cannot read absent.yaml"),
    ],
)
def test_unknown_task(name: str, message: str) -> None:
    assert_error(lambda: load_spec(name, {"mine": {"text": "a"}}), message)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"txt": "a"}, "tasks: task 'x': unknown key 'txt'; did you mean 'text'?"),
        ({"text": "a", "metric": "f1"}, "unknown key 'metric'; did you mean 'metrics'?"),
        ({}, "tasks: task 'x': it lacks 'text'; give it"),
        ("a", "task 'x' is 'a'; give a mapping with keys"),
        ({"text": []}, "text has 0 columns; give one or two"),
        ({"text": ["a", "b", "c"]}, "text has 3 columns; give one or two"),
        ({"text": "a", "label": 3}, "label is 3"),
        ({"text": "a", "metrics": 3}, "metrics is 3"),
        ({"text": "a", "labels": {"0": "p"}}, "labels is {'0': 'p'}: expected a list"),
        ({"text": "a", "metrics": "acuracy"}, "metric 'acuracy' does not fit; did you mean"),
        ({"text": "a", "metrics": "pearson"}, "metric 'pearson' does not fit"),
        ({"text": "a", "regression": True, "metrics": "f1"}, "metric 'f1' does not fit"),
        ({"text": "a", "labels": [True, False]}, "put them in quotes"),
        ({"text": ["a", "A"]}, "the column 'a' is named twice under text and label"),
        ({"text": "label"}, "the column 'label' is named twice under text and label"),
        ({"text": "a", "labels": ["one"]}, "give two or more labels"),
        ({"text": "a", "labels": ["one", None]}, "something else than a name"),
        ({"text": "a", "labels": ["one", ["two"]]}, "something else than a name"),
        ({"text": "a", "labels": ["p", "q"], "positive": "r"}, "positive is 'r'; give one of p, q"),
        ({"text": "a", "positive": "r", "regression": True}, "regression has no classes; leave"),
        ({"text": "a", "positive": ["p"]}, "give a word or a number"),
        ({"text": "a", "unlabelled": {"p": 1}}, "give a word or a number, or a list of them"),
        ({"text": "a", "positive": True}, "put them in quotes"),
        ({"text": "a", "labels": ["p", "-"], "unlabelled": "-"}, "'-' is a class under `labels`"),
        ({"text": "a", "labels": ["Yes", "yes"]}, "all different"),
        ({"text": "a", "labels": ["p", "q"], "regression": True}, "regression has no labels"),
        ({"text": "a", "labels": [1, 2, 3], "metrics": "f1"}, "use f1_macro"),
        ({"text": "a", "files": {"dev": "d"}}, "files: unknown split 'dev'"),
        ({"text": "a", "files": {"train": "b/c"}}, "holds a folder"),
        ({"text": "a", "headerless": ["b"]}, "headerless lacks the text column 'a'"),
        ({"text": "a", "evaluation": "dev"}, "evaluation is 'dev'; give validation"),
    ],
)
def test_wrong_entry(entry: Any, message: str) -> None:
    assert_error(lambda: load_spec("x", {"x": entry}), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a\n", "holds a list; expected a mapping of a name to a task"),
        ("", "holds nothing; give one task"),
        ("a: {text: t}\nb: {text: t}\n", "holds the keys a, b; give one task"),
    ],
)
def test_wrong_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(content)
    assert_error(lambda: load_spec(path), message)


def assert_error(call: Any, message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_type_of_a_task_and_its_short_form() -> None:
    spec = load_spec("mine", {"mine": {"text": "a", "type": "regression"}})
    assert spec == load_spec("mine", {"mine": {"text": "a", "regression": True}})
    assert load_spec("mine", {"mine": {"text": "a", "regression": False}}).type == "classification"
    assert spec.task_type is TASK_TYPES["regression"]
    for entry, message in (
        (
            {"text": "a", "type": "regresion"},
            "unknown type 'regresion'; did you mean 'regression'?",
        ),
        ({"text": "a", "type": "classification", "regression": True}, "contradicts"),
    ):
        assert_error(lambda: load_spec("x", {"x": entry}), message)  # noqa: B023


def test_splits_with_test_in_their_names_are_scored_and_changed() -> None:
    names = ["validation_latest", "validation_old"]
    entry = {"text": "a", "evaluation": names, "files": {names[0]: ["latest.csv"]}}
    spec = load_spec("mine", {"mine": entry})
    assert spec.test_splits == ("test_latest", "test_old")
    for one in (spec, spec.on_tests):
        found = one.changed(labels=("no", "yes"))
        assert found.evaluation == one.evaluation and found.labels == ("no", "yes")


def test_a_settings_file_is_no_task(tmp_path: Path) -> None:
    file = tmp_path / "films.yaml"
    file.write_text("task: films\ndata-dir: data\ntasks: {films: {text: review}}\n")
    with pytest.raises(KdnasError, match="films.yaml: this is a settings file; give it with --con"):
        load_spec(str(file))
    file.write_text("recipe: {text: steps, label: cuisine}\n")
    assert load_spec(str(file)).name == "recipe", "a task may have an option's name"
