from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from kdnas.config import Settings, load_settings, validated
from kdnas.config.options import PANELS
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run, resolve


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# nothing yet\n", "is empty; give it options, such as task: mrpc, or leave --config out"),
        ("name: films\ntext: review\nskip_malformed: true\n", ": this describes a task; give it"),
        ("films: {text: review, label: stars}\n", ": this describes a task; give it with --task"),
    ],
)
def test_a_file_of_no_options_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(KdnasError) as caught:
        load_settings([file], {})
    assert message in str(caught.value) and str(caught.value).startswith(str(file))


def test_flags_win_over_the_file_and_hyphens_are_underscores(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("trials: 7\nmini-epochs: 2\n")
    settings = load_settings([file], {"trials": 9})
    assert (settings.trials, settings.mini_epochs, settings.alpha) == (9, 2, -0.06)


@pytest.mark.parametrize("prefix", ["", " "])
def test_an_empty_prefix_is_one(tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"source_prefix: '{prefix}'\n")
    assert load_settings([file], {}).source_prefix == prefix
    assert validated({"source_prefix": prefix}).source_prefix == prefix


def test_a_later_file_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("trials: 7\nalpha: -0.3\n")
    second.write_text("trials: 8\n")
    settings = load_settings([first, second], {})
    assert (settings.trials, settings.alpha) == (8, -0.3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trails": 3}, "unknown option 'trails'; did you mean 'trials'"),
        ({"trials": 0}, "invalid --trials 0: expected at least 1"),
        ({"alpha": 0.1}, "invalid --alpha 0.1: expected at most 0"),
        ({"proxy_fraction": 2}, "invalid --proxy-fraction 2: expected at most 1"),
        ({"trials": "many"}, "invalid --trials many: expected an integer"),
        ({"cost": "money"}, "invalid --cost money: expected 'latency', 'macs' or 'params'"),
        ({"epochs": float("inf")}, "invalid --epochs inf: expected a finite number"),
        ({"alpha": -float("inf")}, "invalid --alpha -inf"),
        ({"trials": True}, "invalid --trials true: only switches take true or false"),
        ({"trials": "9" * 5000}, f"invalid --trials {'9' * 96} ...: expected an integer"),
        ({"seed": 2**32}, "invalid --seed 4294967296: expected at most 2147483647"),
        ({"temperature": 1e300}, "invalid --temperature 1e+300: expected at most 1000"),
        ({"worker_timeout": "1e20"}, "invalid --worker-timeout 1e20: expected an integer"),
        ({"worker_timeout": 10**20}, "invalid --worker-timeout 100000000000000000000: expected"),
        ({"threads": 1_000_000}, "invalid --threads 1000000: expected 1 to 1024, or auto"),
        ({"threads": "few"}, "invalid --threads few: expected 1 to 1024, or auto"),
        ({"threads": 1.5}, "invalid --threads 1.5: expected 1 to 1024, or auto"),
        ({"epochs": 1e-9}, "invalid --epochs 1e-09: expected 0, or 0.001 or more"),
        ({"task": " "}, "invalid --task ' ': it is empty; leave it out for the default"),
        ({"out": "a\0b"}, r"invalid --out a\x00b: no text or path may hold a NUL character"),
        ({"x\x1b[2J" * 50: 1}, r"unknown option 'x\x1b[2J"),
    ],
)
def test_bad_values_are_told_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(KdnasError) as caught:
        validated(values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trails: 5", "unknown option 'trails'; did you mean 'trials'?"),
        ("::: not yaml [", "unknown option '::'; kdnas search --help-all lists them"),
        ("trials: many", "invalid trials many: expected an integer"),
        ("mini-epochs: -1", "invalid mini_epochs -1: expected at least 0.001"),
        ("trials: true", "invalid trials true: only switches"),
        ("stages: 5", "invalid stages 5: expected a list"),
        ("data_dir: 10", "invalid data_dir 10: expected a path; put it in quotes"),
        ("task: 10", "invalid task 10: expected a text; put it in quotes"),
        ("study: on", "invalid study true: only switches take true or false; put it in quotes"),
        ("teacher: [a]", "invalid teacher ['a']: expected a text"),
        ("trials:", "invalid trials null: expected an integer"),
        ("space: [1]", "invalid space [1]: expected a mapping"),
        (
            "mini_losses: {hidden: 0}",
            "invalid mini_losses {'hidden': 0}: expected a weight above 0",
        ),
    ],
)
def test_the_file_that_holds_a_bad_value_is_named(text: str, told: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("trials: 5\nstudy: a\n")
    bad.write_text(text)
    with pytest.raises(KdnasError) as caught:
        load_settings([good, bad], {})
    assert str(caught.value).startswith(f"{bad}: {told}") and len(str(caught.value)) < 300
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(KdnasError, match=rf"^{tmp_path}/config\.yaml: "):
        Run.open(tmp_path)


def test_a_bad_flag_is_told_as_such_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("trials: 5\n")
    with pytest.raises(KdnasError, match="^invalid --trials 0: "):
        load_settings([tmp_path / "a.yaml"], {"trials": 0})


def test_yaml_reads_a_bare_off_as_false(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("random_control: off\nwarm_start: off\n")
    settings = load_settings([tmp_path / "a.yaml"], {})
    assert settings.random_control == "off" and settings.warm_start is False


@pytest.mark.parametrize("text", ["trials: [", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(KdnasError, match=r"a\.yaml"):
        load_settings([file], {})


def test_every_number_has_two_limits_that_are_checked() -> None:
    for name, field in Settings.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        if not kinds & {int, float} or name in ("threads", "jobs"):
            continue
        least, most = -1e30, 1e30
        given = {type(limit).__name__: limit for limit in field.metadata}
        assert given.keys() & {"Ge", "Gt"} and given.keys() & {"Le", "Lt"}, name
        for value in (least, most, "1e400", "-9" * 200):
            with pytest.raises(KdnasError, match=f"^invalid --{name.replace('_', '-')} "):
                validated({name: value})


def test_an_option_stands_once_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("mini-lr: 1\nmini_lr: 0.1\n")
    with pytest.raises(KdnasError, match="'mini_lr' stands twice, once with a dash"):
        load_settings([tmp_path / "a.yaml"], {})


def test_every_setting_has_a_description_and_stands_in_the_panel_that_declares_it() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    declared = [name for panel in PANELS for name in panel.model_fields]
    assert declared == list(Settings.model_fields)


def test_a_run_goes_on_but_does_not_become_another(tmp_path: Path) -> None:
    settings = Settings(out=tmp_path / "run", trials=3)
    run = Run.create(settings)
    assert Run.create(settings).settings == run.settings
    assert Run.create(settings.model_copy(update={"trials": 9})).settings.trials == 9
    with pytest.raises(KdnasError, match="holds another study: its --alpha is -0.06, not -0.5"):
        Run.create(settings.model_copy(update={"alpha": -0.5}))
    more = "--teacher-epochs is 3.0, not 9.0; .*kdnas resume .*/run --teacher-epochs 9`"
    with pytest.raises(KdnasError, match=more):
        Run.create(settings.model_copy(update={"teacher_epochs": 9.0}))
    with pytest.raises(KdnasError, match="its --max-params is not set; you gave 10;"):
        Run.create(settings.model_copy(update={"max_params": 10}))
    limited = Settings(out=tmp_path / "limited", data_dir=tmp_path, max_params=10)
    Run.create(limited)
    with pytest.raises(KdnasError, match="its --max-params is 10; you gave none;"):
        Run.create(limited.model_copy(update={"max_params": None}))
    with pytest.raises(KdnasError, match=f"its --data-dir is {tmp_path}; you gave none"):
        Run.create(limited.model_copy(update={"data_dir": None}))
    (tmp_path / "limited").rename(tmp_path / "moved")
    moved = limited.model_copy(update={"out": tmp_path / "moved"})
    assert Run.create(moved).settings.max_params == 10
    more = Run.open(tmp_path / "run", trials=12)
    assert more.settings.trials == 12 and Run.open(tmp_path / "run").settings.trials == 3
    more.save()
    assert Run.open(tmp_path / "run").settings.trials == 12


def test_an_emptied_config_is_no_run_with_default_settings(tmp_path: Path) -> None:
    Run.create(Settings(out=tmp_path / "run"))
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(KdnasError, match="config.yaml is empty; put back"):
        Run.open(tmp_path / "run")


def test_a_refused_search_is_forgotten_unless_another_process_has_it(tmp_path: Path) -> None:
    def refused(run: Run) -> None:
        with pytest.raises(KdnasError, match="no good"), run.forgotten_if_refused():
            raise KdnasError("no good")

    run = Run.create(Settings(out=tmp_path / "run"))
    second = Run.create(Settings(out=tmp_path / "run"))
    with run.alone():
        refused(second)
        refused(run)
    refused(second)
    assert (run.folder / "config.yaml").exists()
    refused(run)
    assert not run.folder.exists()
    (tmp_path / "mine").mkdir()
    refused(Run.create(Settings(out=tmp_path / "mine")))
    assert not list((tmp_path / "mine").iterdir())


def test_a_planned_run_leaves_nothing_where_it_would_be(tmp_path: Path) -> None:
    settings = Settings(out=tmp_path / "runs" / "new")
    first, second = (Run.create(settings, planned=True) for _ in range(2))
    assert first.place == second.place == settings.out and first.folder != second.folder
    for run in (first, second):
        with run.forgotten(), run.alone():
            assert Run.open(run.folder).settings == run.settings
        assert not run.folder.exists()
    assert not list(tmp_path.iterdir())
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(KdnasError, match=r"not empty .* 'thesis\.tex'"):
        Run.create(Settings(out=tmp_path), planned=True)
    with pytest.raises(KdnasError, match="cannot write to"):
        Run.create(Settings(out=tmp_path / "thesis.tex" / "run"), planned=True)
    begun = Run.create(settings)
    assert Run.create(settings, planned=True).folder == begun.folder


def test_a_refused_run_leaves_no_folder_above_it(tmp_path: Path) -> None:
    with (
        pytest.raises(KdnasError),
        (run := Run.create(Settings(out=tmp_path / "a" / "b"))).forgotten_if_refused(),
    ):
        raise KdnasError("no good")
    assert not run.folder.parent.exists()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(KdnasError, match=r"not empty .* 'thesis\.tex'"):
        Run.create(Settings(out=tmp_path))
    with pytest.raises(KdnasError, match="holds no kdnas run"):
        Run.open(tmp_path)
    with pytest.raises(KdnasError, match="the run folder .*/nowhere does not exist"):
        Run.open(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KdnasError, match="cannot write to"):
        Run.create(Settings(out=tmp_path / "file" / "run"))


def test_paths_mean_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher").mkdir()
    monkeypatch.setenv("KDNAS_DATA_DIR", "data")
    settings = resolve(Settings(teacher="teacher", task="mrpc"))
    assert settings.teacher == str(tmp_path / "teacher")
    assert settings.data_dir == tmp_path / "data"
    assert settings.out == tmp_path / "runs" / "teacher-mrpc"
    assert resolve(Settings(storage="sqlite:///a/b.db")).storage == f"sqlite:///{tmp_path}/a/b.db"
    assert resolve(Settings(storage="grpc://host:1")).storage == "grpc://host:1"
    assert resolve(Settings(storage="postgres://host/x")).storage == "postgres://host/x"
    with pytest.raises(KdnasError, match="invalid --storage foo://bar: there is no storage foo://"):
        resolve(Settings(storage="foo://bar"))
    for lost in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(KdnasError, match="ends with the process; give sqlite:///PATH"):
            resolve(Settings(storage=lost))
    assert resolve(Settings(teacher="roberta-base")).teacher == "roberta-base"


def test_a_step_is_done_once_for_each_key(tmp_path: Path) -> None:
    run = Run.create(Settings(out=tmp_path / "run"))
    calls: list[int] = []

    def compute() -> int:
        calls.append(1)
        return len(calls)

    assert [run.step("a b", {"k": 1}).get(compute) for _ in range(2)] == [1, 1]
    assert run.step("a b", {"k": 2}).get(run.timed("a b")(compute)) == 2
    (run.folder / "steps" / "a-b.json").write_text("{half")
    assert run.step("a b", {"k": 2}).get(compute) == 3
    assert set(run.seconds()) == {"a b"}


def test_a_step_that_fails_is_timed_all_the_same(tmp_path: Path) -> None:
    run = Run.create(Settings(out=tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt), run.timed("search"):
        raise KeyboardInterrupt
    start, end = run.events()
    assert (start["event"], end["event"], end["step"]) == ("start", "end", "search")
    assert end["failed"] is True and end["seconds"] >= 0 and run.seconds().keys() == {"search"}


def test_two_processes_cannot_hold_a_run(tmp_path: Path) -> None:
    run = Run.create(Settings(out=tmp_path / "run"))
    with (
        run.alone(),
        pytest.raises(KdnasError, match="another process works on"),
        Run.open(run.folder).alone(),
    ):
        pass


@pytest.mark.parametrize(
    ("there", "given"),
    [
        ({"speedup": 4.0}, {"speedups": (2.0, 4.0)}),
        ({"speedups": [2.0, 4.0]}, {"speedup": 4.0}),
        ({"sparsity": 0.5}, {"speedup": 4.0}),
    ],
)
def test_how_far_to_prune_is_as_the_flags_say(
    there: dict[str, Any], given: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"pruned": "ziplm", **there}))
    found = load_settings(file, given)
    asked = {name: getattr(found, name) for name in ("speedup", "speedups", "sparsity")}
    assert asked == {"speedup": None, "speedups": (), "sparsity": None, **given}
