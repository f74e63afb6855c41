"""Pruned students: `kdnas distill --teacher T --task K --pruned METHOD --speedup X`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, Said, flags_of
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from kdnas import KdnasError, distill, export, load_run, predict, resume
from kdnas.files.artifact import key_of
from kdnas.report.write import rewrite_report
from kdnas.runs.run_folder import Run
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import Kept, is_sliced
from kdnas.study.whole import check_searches
from kdnas.workflow.distilling.choose import GIVEN_ASIDE

NOT_OF_ONE = ("random_control", "finalists", "screen", "speedup")
ONE = {k: v for k, v in QUICK.items() if k not in NOT_OF_ONE}
CONTROLS = ["fine-tuned without KD", "pruned by magnitude"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path) -> Path:
    """A finished run of one student at half of its weights; copy it to change it."""
    out = tmp_path_factory.mktemp("pruned") / "run"
    given = {**ONE, "data_dir": data_folder, "out": out}
    return distill(
        teacher=teacher_folder, task="mrpc", pruned="ziplm", sparsity=0.5, **given
    ).folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def flags(teacher_folder: Path, data_folder: Path) -> list[str]:
    return flags_of({"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **ONE})


def test_the_report_has_the_student_and_its_controls(made: Path) -> None:
    report = load_run(made).report
    assert report is not None and report.search is None
    names = [name for name, _ in report.models]
    assert names[:4] == ["teacher", "student", *CONTROLS] and names[4].startswith("hand-picked")
    kept = Kept.read(load_student(made / "student").config)
    assert kept is not None
    assert report.student.architecture == kept.architecture(report.teacher.architecture)
    weights = 3 * (4 * 4 * 8 * 32 + 2 * 64 * 32)
    left = sum(4 * 8 * 32 * len(heads) for heads in kept.heads)
    left += sum(2 * 32 * len(neurons) for neurons in kept.neurons)
    assert 0.4 < left / weights <= 0.5
    assert report.student.params < report.teacher.params
    assert (made / "pruning" / "ziplm.safetensors").exists()
    assert (made / "pruning" / "magnitude.safetensors").exists()


def test_the_card_says_what_was_pruned(made: Path) -> None:
    card = (made / "student" / "README.md").read_text(encoding="utf-8")
    report = load_run(made).report
    assert report is not None and report.student.pruned is not None
    facts = report.student.pruned
    assert "## Pruned by ziplm to 50%" in card and "The shape was given" not in card
    assert f"{facts.params['sliced']:,}" in card and f"{facts.params['dense']:,}" in card
    assert facts.params["sliced"] == report.student.params
    assert facts.params["dense"] == report.teacher.params
    assert f"Heads left in each layer: {', '.join(map(str, facts.heads))}" in card
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "the teacher, pruned by ziplm to 50%" in page and "--sparsity 0.75" in page


def test_a_report_gives_no_card_to_a_student_that_was_trained_since(run: Path) -> None:
    student, card = run / "student", run / "student" / "README.md"
    text = card.read_text(encoding="utf-8")
    card.unlink()
    rewrite_report(Run.open(run))
    assert "## Pruned by ziplm to 50%" in text and card.exists()
    key = key_of(student)
    model, tokenizer = load_student(student), AutoTokenizer.from_pretrained(student)
    model.classifier.bias.data += 1.0
    shutil.rmtree(student)
    student_artifact(student, key or {}, tokenizer).write(model)  # as by another recipe
    rewrite_report(Run.open(run))
    assert not card.exists()


def test_it_ships_dense_and_is_used_sliced(made: Path) -> None:
    plain = AutoModelForSequenceClassification.from_pretrained(made / "student")
    sliced = load_student(made / "student")
    assert is_sliced(sliced) and plain.num_parameters() > sliced.num_parameters()
    assert len(predict(made, ["a good film"], pairs=["a film"])) == 1


def test_a_command_that_needs_a_study_says_what_the_run_is(run: Path, command: Said) -> None:
    code, error = command("distill", run, "--trial", 1)
    assert code == 2 and error.count("\n") == 1
    assert "it distils the teacher pruned by ziplm to 50%; go on with `kdnas resume " in error
    assert f"take its student ({run}/student) with `kdnas export {run}`, or " in error


def test_a_family_says_where_its_students_are(make_run: Callable[..., Run]) -> None:
    run = make_run(pruned="ziplm", speedup=None, speedups=(1.2, 1.5))
    with pytest.raises(KdnasError, match="pruned by ziplm to 1.2x,1.5x; go on with") as raised:
        check_searches(run)
    students = f"{run.folder}/family/1.2x/student, {run.folder}/student"
    assert f"({students}) with `kdnas export {run.folder} --student family/1.2x`" in str(
        raised.value
    )


def test_a_finished_run_is_resumed_without_work(run: Path, command: Said) -> None:
    before = (run / "student" / "model.safetensors").stat().st_mtime_ns
    assert command("resume", run)[0] == 0
    assert "distilling" not in command.all
    assert (run / "student" / "model.safetensors").stat().st_mtime_ns == before


def test_a_student_that_is_lost_is_made_again_alike(run: Path) -> None:
    own = run / GIVEN_ASIDE if (run / GIVEN_ASIDE).exists() else run / "student"
    before = (own / "model.safetensors").read_bytes()
    shutil.rmtree(own)
    (run / "pruning" / "ziplm.safetensors").unlink()
    (run / "pruning" / "shape-ziplm-50%.json").write_text("{")
    resume(run)
    assert (own / "model.safetensors").read_bytes() == before
    assert (run / "pruning" / "ziplm.safetensors").exists()


def test_a_plan_has_the_steps_in_the_order_of_the_run(run: Path, command: Said) -> None:
    shutil.rmtree(run / "student")
    shutil.rmtree(run / "controls")
    assert command("resume", run, "--dry-run", "--json")[0] == 0
    said = json.loads(command.all[command.all.index("{\n") :].rpartition("}")[0] + "}")
    planned = [step["name"] for step in said["steps"]]
    begun = [one["step"] for one in Run.open(run).events() if one.get("event") == "start"]
    trained = [step for step in begun if step in planned]
    assert planned == [*trained, "report"] and len(trained) == 1 + len(CONTROLS) + 1
    assert trained.index("control fine-tuned") < trained.index("distil hand-picked")


@pytest.mark.slow
@pytest.mark.usefixtures("thread_clock")
def test_a_family_meets_each_speedup_as_timed(
    tmp_path: Path, teacher_folder: Path, data_folder: Path
) -> None:
    timing = {"latency_batch": 16, "latency_length": 64, "latency_repeats": 30}
    given = {**ONE, "data_dir": data_folder, **timing}
    home = distill(
        teacher=teacher_folder,
        task="mrpc",
        pruned="ziplm",
        speedup="1.3,2",
        out=tmp_path / "run",
        **given,
    ).folder
    kept, asked = [], (1.3, 2.0)
    for folder, wanted in zip((home / "family" / "1.3x", home), asked, strict=True):
        found = json.loads((folder / "report.json").read_text())
        assert found["speedup_wanted"] == wanted and found["speedup"] > 0.9 * wanted
        one = Kept.read(load_student(folder / "student").config)
        assert one is not None
        kept.append(one)
    first, second = kept
    for part in ("heads", "neurons"):  # what one student lost, the next one has not again
        for before, after in zip(getattr(first, part), getattr(second, part), strict=True):
            assert set(after) <= set(before)
    assert (home / "pruning" / "ziplm-after-1.3x.safetensors").exists()
    family = json.loads((home / "report.json").read_text())["family"]
    assert [one["folder"] for one in family] == ["family/1.3x", "."]
    assert [one["asked"] for one in family] == list(asked)
    for one in family:
        assert 0 < one["params_without_embeddings"] < one["params"] and one["macs"] > 0
        assert one["kept"]["share"] > 0 and one["interval"][0] <= one["interval"][1]
        assert "pruned by magnitude" in one["controls"] and one["exported"] == {}
    export(home, "onnx", student="family/1.3x")
    rewrite_report(Run.open(home))
    slow, fast = json.loads((home / "report.json").read_text())["family"]
    assert slow["exported"]["ONNX"] > 0 and fast["exported"] == {}
    page = (home / "report.html").read_text()
    assert "The family" in page and "others of the family" in page
    assert "## The family" in (home / "student" / "README.md").read_text()
    with pytest.raises(KdnasError, match="has no student there; known: family/1.3x"):
        export(home, "onnx", student="family/9x")
    log = (home / "log.jsonl").read_text()
    assert '"distil student 1.3x"' in log and '"distil student"' in log


@pytest.mark.usefixtures("times_by_size")
def test_a_dry_run_counts_what_is_measured_and_who_teaches(
    flags: list[str], command: Said, tmp_path: Path
) -> None:
    given = ("distill", *flags, "--out", tmp_path / "run", "--dry-run", "--pruned", "ziplm")
    given += ("--seed", "2911")  # no other test may have fine-tuned this teacher
    assert command(*given, "--sparsity", 0.75, "--assistants", "0.25,0.5") == (0, "")
    told = command.all
    place = [
        told.index(step)
        for step in (
            "fine-tune the teacher",
            "importance by ziplm",
            "assistant: 3x32 h4 f64 gelu ziplm 25%",
            "assistant: 3x32 h4 f64 gelu ziplm 50% taught by 25%",
            "distil the student",
            "control: the student without assistants",
        )
    ]
    assert place == sorted(place) and "latency table" not in told
    command.all = ""
    assert command(*given, "--speedup", "1.1,1.2") == (0, "")
    told = command.all
    place = [
        told.index(step)
        for step in ("importance by ziplm ", "latency table", "importance by ziplm of 1.1x")
    ]
    assert place == sorted(place) and told.count("distil the student") == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--pruned ziplm needs --sparsity, such as 0.8, or --speedup, such as 4 or 2,4,8"),
        ({"sparsity": 1}, "invalid --sparsity 1"),
        ({"sparsity": 0.5, "speedup": 2}, "got --sparsity and --speedup"),
        ({"speedup": 1}, "invalid --speedup 1: expected a number above 1"),
        ({"speedup": "4,2"}, "invalid --speedup 4,2: give each once, the lowest first"),
        ({"speedup": "2,x"}, "invalid --speedup 2,x: expected a number above 1, or several"),
        (
            {"sparsity": 0.5, "architecture": "2x16"},
            "--architecture 2x16 and --pruned ziplm contra",
        ),
        ({"sparsity": 0.5, "max_params": 9}, "--max-params 9 and --pruned ziplm contradict"),
        ({"sparsity": 0.5, "inherit": False}, "--no-inherit and --pruned ziplm contradict"),
        ({"speedup": 500}, "--speedup 500 is out of reach by pruning: the teacher with one head"),
        ({"speedup": 500, "kept_layers": 1}, "by pruning: 1 of the teacher's layers with one head"),
        (
            {"sparsity": 0.5, "kept_layers": 4},
            "invalid --kept-layers 4: the teacher has 3 layers; give 1 to 3",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused_at_once(
    tmp_path: Path, teacher_folder: Path, data_folder: Path, options: dict[str, Any], message: str
) -> None:
    given = {**ONE, "data_dir": data_folder, "out": tmp_path / "run", **options}
    with pytest.raises(KdnasError) as error:
        distill(teacher=teacher_folder, task="mrpc", pruned="ziplm", **given)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_reads_all_heads_is_refused(
    tmp_path: Path, teacher_folder: Path, data_folder: Path
) -> None:
    given = {k: v for k, v in ONE.items() if not k.endswith("epochs")}
    given |= {"data_dir": data_folder, "out": tmp_path / "run", "recipe": "tinybert-task"}
    with pytest.raises(KdnasError, match="attention reads all heads of a layer"):
        distill(teacher=teacher_folder, task="mrpc", pruned="ziplm", sparsity=0.5, **given)
    assert not (tmp_path / "run").exists()


def test_teachers_that_cannot_be_pruned_are_refused(
    tmp_path: Path, make_teacher: Callable[..., Path], data_folder: Path
) -> None:
    given = {**ONE, "data_dir": data_folder, "out": tmp_path / "run"}
    with pytest.raises(KdnasError, match="the layers of 'albert' share their weights"):
        distill(teacher=make_teacher("albert"), task="mrpc", pruned="ziplm", sparsity=0.5, **given)
    assert not (tmp_path / "run").exists()


def test_options_of_pruning_need_a_method(flags: list[str], command: Said, tmp_path: Path) -> None:
    code, error = command("distill", *flags, "--out", tmp_path / "run", "--sparsity", 0.5)
    assert code == 2 and "--sparsity goes with kdnas distill --pruned; a search" in error
    code, error = command("distill", *flags, "--out", tmp_path / "run", "--kept-layers", 2)
    assert code == 2 and "--kept-layers goes with kdnas distill --pruned; a search" in error
    over = ["--search-over", "pruning", "--kept-layers", 2]
    code, error = command("search", *flags, "--out", tmp_path / "run", *over)
    assert code == 2 and "a search chooses how many layers stay" in error
    pruned = ["--pruned", "ziplm", "--sparsity", 0.5]
    code, error = command("search", *flags, "--out", tmp_path / "run", *pruned)
    assert code == 2 and "a search chooses its students" in error and error.count("\n") == 1


def test_fewer_layers_are_pruned(tmp_path: Path, teacher_folder: Path, data_folder: Path) -> None:
    given = {**ONE, "data_dir": data_folder, "out": tmp_path / "run", "sparsity": 0.5}
    home = distill(
        teacher=teacher_folder,
        task="mrpc",
        pruned="ziplm",
        kept_layers=2,
        assistants="0.25",
        **given,
    ).folder
    assert (
        "It is the teacher with 2 of its 3 layers, pruned by" in (home / "report.html").read_text()
    )
    assistant = Kept.read(load_student(home / "assistants" / "assistant-ziplm-25").config)
    assert assistant is not None and len(assistant.heads) == 3
    report = load_run(home).report
    assert report is not None and report.student.architecture.num_hidden_layers == 2
    assert (home / "pruning" / "ziplm-of-2.safetensors").exists()
    kept = Kept.read(load_student(home / "student").config)
    assert kept is not None and len(kept.heads) == 2


@pytest.mark.slow
def test_another_method_makes_a_student(
    tmp_path: Path, teacher_folder: Path, data_folder: Path
) -> None:
    given = {**ONE, "data_dir": data_folder, "out": tmp_path / "run", "sparsity": 0.5}
    home = distill(teacher=teacher_folder, task="mrpc", pruned="gradient", **given).folder
    kept = Kept.read(load_student(home / "student").config)
    assert kept is not None and sum(map(len, kept.heads)) == 6
