"""Students that teach in the teacher's place: `kdnas distill ... --assistants trial-3,0.8`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, Said, flags_of
from support.stepwise import Stepwise
from support.tiny import save_animals, save_teacher
from support.tiny_writers import save_captions, save_writer
from transformers import AutoConfig

from kdnas import KdnasError, distill, load_run, resume, search
from kdnas.config import Settings, validated
from kdnas.config.assistants import assistants_in, sparsity_of
from kdnas.config.recipe import Stage
from kdnas.files.artifact import content_of, key_of
from kdnas.recipes.stages import rates_of
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.scoring.mini_kd import states_for
from kdnas.space import Architecture, Candidate, PrunedArchitecture, Pruning
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning import Kept, sliced
from kdnas.students.state import StudentState
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher
from kdnas.workflow.distilling.assistants import assistants_of, copy_checkpoint
from kdnas.workflow.distilling.check_assistants import check_assistants
from kdnas.workflow.distilling.distil import FullTraining
from kdnas.workflow.distilling.find_assistant import sparsities_between, whole_network
from kdnas.workflow.preparing.inputs import read_inputs
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.run_space import asked_candidates

ONE = {k: v for k, v in QUICK.items() if k not in ("random_control", "finalists", "screen")}


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path
) -> Path:
    """A finished search of three trials, of 1 to 3 layers; copy it to change it."""
    out = tmp_path_factory.mktemp("searched") / "run"
    space = {"num_hidden_layers": [1, 2, 3], "hidden_size": [32], "hidden_act": ["gelu"]}
    space |= {"num_attention_heads": [4], "intermediate_size": [64]}
    given = {**QUICK, "data_dir": data_folder, "out": out, "space": space, "trials": 3}
    return search(teacher_folder, "mrpc", **given, warm_start=False, sampler="random").folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "searched"))


@pytest.fixture
def given(tmp_path: Path, teacher_folder: Path, data_folder: Path) -> dict[str, Any]:
    """Of a student pruned to 75%."""
    own = {"data_dir": data_folder, "out": tmp_path / "run", "teacher": teacher_folder}
    return {**ONE, **own, "task": "mrpc", "pruned": "gradient", "sparsity": 0.75}


def trial_of_depth(run: Path, layers: int) -> int:
    """The number of the trial with so many layers."""
    table = load_run(run).trials
    return int(table[table.num_hidden_layers == layers].number.iloc[0])


def heads_of(folder: Path) -> int:
    """The heads that a pruned student has left."""
    kept = Kept.read(load_student(folder).config)
    assert kept is not None
    return sum(map(len, kept.heads))


@pytest.mark.slow
def test_a_trial_teaches_another_one(run: Path) -> None:
    large, small = trial_of_depth(run, 3), trial_of_depth(run, 1)
    made = distill(run, trial=small, assistants=f"trial-{large}")
    assert made.folder == run / "students" / f"trial-{small}-taught-by-trial-{large}"
    assert made.report.student.name.endswith(f"taught by trial-{large}")
    assert made.report.student.trial == small
    assert [one.name for one in made.report.controls][1] == "without assistants"
    places = [run / "student", run / "students" / f"trial-{large}" / "student"]
    assert sum(AutoConfig.from_pretrained(at).num_hidden_layers == 3 for at in places) == 1
    assert AutoConfig.from_pretrained(made.student).num_hidden_layers == 1
    key = key_of(made.student)
    assert key is not None and key["candidate"]["assistants"] == f"trial-{large}"
    taught, alone = (
        load_student(made.folder / at).state_dict()
        for at in ("student", "controls/without-assistants")
    )
    assert any(not taught[name].equal(alone[name]) for name in taught)
    before = (made.student / "model.safetensors").stat().st_mtime_ns
    distill(run, trial=small, assistants=f"trial-{large}")
    assert (made.student / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_what_of_a_run_cannot_teach_is_refused(run: Path, command: Said) -> None:
    large, small = trial_of_depth(run, 3), trial_of_depth(run, 1)
    for words, message in (
        ("trial-99", "trial 99 is not a finished trial of this study; finished: "),
        (f"trial-{small}", "learns from trial-"),
        (f"trial-{large},0.5", "sparsities are those of pruned students"),
        (f"trial-{large},trial-{small}", f"trial-{small} is a student already"),
    ):
        taught = small if words.endswith(str(large)) else large
        code, error = command("distill", run, "--trial", taught, "--assistants", words)
        assert code == 2 and error.count("\n") == 1, error
        assert f"invalid --assistants {words}: " in error
        # Relations are learnt from any depth: there it is its size that does not do.
        told = (message, "cannot learn from", "give one that is larger")
        assert any(words in error for words in told), error
    assert not list(run.glob("students/*taught*"))
    code, error = command("distill", run, "--speedup", 1, "--assistants", f"trial-{large}")
    assert code == 2 and "--assistants needs the student that they teach: give --trial N" in error


@pytest.mark.slow
def test_a_checkpoint_and_a_sparsity_teach(run: Path, given: dict[str, Any]) -> None:
    large = trial_of_depth(run, 3)
    source = distill(run, trial=large).student
    home = distill(**given, assistants=f"{source},0.5").folder
    report = load_run(home).report
    assert report is not None
    name = "searched" if source.parent == run else f"trial-{large}"
    assert report.student.name.endswith(f"gradient 75% taught by {name},50%")
    copied = home / "assistants" / f"assistant-{name}"
    second = home / "assistants" / f"assistant-gradient-{name}-50"
    assert (copied / "model.safetensors").exists() and heads_of(second) == 6
    shutil.rmtree(run)  # the run has what it needs
    (home / "student" / "model.safetensors").unlink()
    before = (second / "model.safetensors").stat().st_mtime_ns
    distill(**given, assistants=f"{source},0.5")
    assert (home / "student" / "model.safetensors").exists()
    assert (second / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_assistants_teach_one_after_the_other(given: dict[str, Any]) -> None:
    home = distill(**given, assistants="0.25,0.5").folder
    report = load_run(home).report
    assert report is not None
    assert report.student.name.endswith("gradient 75% taught by 25%,50%")
    assert [control.name for control in report.controls][1] == "without assistants"
    names = ("assistant-gradient-25", "assistant-gradient-25-50")
    assert [heads_of(home / "assistants" / name) for name in names] == [9, 6]
    taught = load_student(home / "student").state_dict()
    alone = load_student(home / "controls" / "without-assistants").state_dict()
    assert taught.keys() == alone.keys()
    if report.selection is not None and report.selection.shipped == "distilled":
        assert any(not taught[name].equal(alone[name]) for name in taught)


@pytest.mark.slow
def test_shapes_teach_one_after_the_other_also_after_a_stop(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped between them goes on behind the first, and ends as another does."""
    del given["pruned"], given["sparsity"]
    words, fill = ["2x32", "2x24-gelu"], FullTraining.fill
    first = "assistant-2x32-h4-f64-gelu"
    second = f"{first}-2x24-h3-f48-gelu"

    def stopped(training: FullTraining, prepared: Prepared) -> None:
        if training.folder.name == second:
            raise KeyboardInterrupt
        fill(training, prepared)

    with monkeypatch.context() as patch:
        patch.setattr(FullTraining, "fill", stopped)
        with pytest.raises(KeyboardInterrupt):
            distill(**given, architecture="1x16", assistants=words)
    before = content_of(given["out"] / "assistants" / first)
    time = (given["out"] / "assistants" / first / "model.safetensors").stat().st_mtime_ns
    resume(given["out"])
    assert (given["out"] / "assistants" / first / "model.safetensors").stat().st_mtime_ns == time
    other = {**given, "out": tmp_path / "other"}
    whole = distill(**other, architecture="1x16", assistants="half,2x24").folder
    assert content_of(whole / "assistants" / first) == before
    for place in (f"assistants/{second}", "controls/without-assistants"):
        one, same = (load_student(run / place).state_dict() for run in (given["out"], whole))
        assert all(one[name].equal(same[name]) for name in one)
    report = load_run(whole).report
    assert report is not None and report.student.name == "1x16 h2 f32 gelu taught by 2x32,2x24"
    assert [control.name for control in report.controls][1] == "without assistants"
    shipped = [load_student(run / "student").state_dict() for run in (given["out"], whole)]
    assert all(shipped[0][name].equal(shipped[1][name]) for name in shipped[0])


@pytest.mark.slow
def test_a_shape_and_a_sparsity_teach(given: dict[str, Any]) -> None:
    home = distill(**given, assistants="allx24,0.5").folder
    report = load_run(home).report
    assert report is not None and report.student.name.endswith("taught by 3x24,50%")
    folders = {folder.name for folder in (home / "assistants").iterdir()}
    first = "3x24-h3-f48-gelu"
    assert folders == {f"assistant-{first}", f"assistant-gradient-{first}-50"}
    assert heads_of(home / "assistants" / f"assistant-gradient-{first}-50") == 6


@pytest.mark.slow
def test_a_shape_teaches_a_trial(run: Path) -> None:
    large, small = trial_of_depth(run, 3), trial_of_depth(run, 1)
    made = distill(run, trial=small, assistants=[f"trial-{large}", "half"])
    name = f"trial-{small}-taught-by-trial-{large}-2x32-h4-f64-gelu"
    assert made.folder == run / "students" / name
    assert made.report.student.name.endswith(f"taught by trial-{large},2x32")
    [between] = [one for one in (run / "assistants").iterdir() if one.is_dir()]
    assert AutoConfig.from_pretrained(between).num_hidden_layers == 2
    key = key_of(between)
    assert key is not None and key["candidate"]["assistants"] == f"trial-{large}"
    before = (made.student / "model.safetensors").stat().st_mtime_ns
    distill(run, trial=small, assistants=f"trial-{large},2x32-gelu")
    assert (made.student / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_words_and_texts_have_assistants_of_shapes(tmp_path: Path) -> None:
    """The former go on from mini-KD; heads of the writer have a size of their own."""
    save_animals(tmp_path)
    save_captions(tmp_path)
    own = {**ONE, "data_dir": tmp_path, "proxy_fraction": 1.0}
    teachers = (save_teacher(tmp_path / "bert"), save_writer(tmp_path / "t5", "t5", num_heads=3))
    tasks = (("animals", "1x16", "2x24-h2", ""), ("captions", "1+1x16", "2+1x24-h2", "-d8"))
    for teacher, (task, shape, word, end) in zip(teachers, tasks, strict=True):
        given = {**own, "teacher": teacher, "task": tmp_path / f"{task}.yaml"}
        run = distill(**given, architecture=shape, assistants=word, out=tmp_path / f"of-{task}")
        name = word.partition("-")[0]
        assert run.report.student.name.endswith(f"taught by {name}")
        [folder] = [one for one in (run.folder / "assistants").iterdir() if one.is_dir()]
        assert folder.name.startswith(f"assistant-{word}-f48-") and folder.name.endswith(end)
        wide = getattr(AutoConfig.from_pretrained(folder), "d_kv", 12)
        assert wide == (8 if end else 12)


@pytest.mark.slow
def test_an_assistant_is_found_in_a_sandwich(given: dict[str, Any]) -> None:
    home = distill(**given, assistants="auto").folder
    report = load_run(home).report
    assert report is not None
    assert report.student.name.endswith("gradient 75% taught by auto")
    found = home / "assistants" / "assistant-gradient-auto-75"
    assert heads_of(found) in (4, 5, 6)  # of 70, 60 or 50%
    before = (found / "model.safetensors").stat().st_mtime_ns
    (home / "student" / "model.safetensors").unlink()
    distill(**given, assistants="auto")
    after = (found / "model.safetensors").stat().st_mtime_ns
    assert before == after and (home / "student" / "model.safetensors").exists()


def test_assistants_of_a_pruned_teacher_are_trained_in_a_whole_network(
    teacher_folder: Path, tmp_path: Path
) -> None:
    """The teacher's checkpoint is dense, and its config says what is pruned."""
    given, kept = load_teacher(str(teacher_folder), load_spec("mrpc")), [range(4), range(4), [1]]
    folder = tmp_path / "pruned"
    pruned = sliced(given.model, Kept.of(kept, [range(64)] * 3))
    student_artifact(folder, {}, given.tokenizer).write(pruned)
    teacher = load_teacher(str(folder), load_spec("mrpc"))
    state = StudentState(whole_network(teacher.model))
    assert state.architecture == teacher.architecture and Kept.read(teacher.model.config)
    assert rates_of(state, Settings()) == 1
    (tmp_path / "state").mkdir()
    state.save(tmp_path / "state")
    again = StudentState.load(tmp_path / "state").model.state_dict()
    assert all(value.equal(again[name]) for name, value in teacher.model.state_dict().items())


@pytest.mark.slow
def test_a_lone_assistant_is_not_told_of_as_several(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    home = distill(**{**given, "sparsity": 0.4}, assistants="auto").folder
    assert (home / "assistants" / "assistant-gradient-auto-40").is_dir()
    told = capsys.readouterr()
    assert "distilling 1 pruned student in one network" in told.out + told.err


def test_assistants_that_are_tried_are_larger_than_their_student() -> None:
    """Three layers of 4 heads and 64 neurons: a third of the weights are heads'."""
    teacher = Architecture(3, 4, 32, 64, "gelu")
    assert sparsities_between(teacher, Pruning("ziplm", sparsity=0.8)) == [0.5, 0.6, 0.7]
    assert sparsities_between(teacher, Pruning("ziplm", sparsity=0.4)) == [0.2]
    assert sparsities_between(teacher, Pruning("ziplm", layers=1)) == [0.5, 0.6]
    fast, half = Pruning("ziplm", speedup=2), PrunedArchitecture((2, 2, 2), 32, (32,) * 3, "gelu")
    assert sparsities_between(teacher, fast, half) == [0.25]
    third = PrunedArchitecture((2, 1, 1), 32, (16, 24, 24), "gelu")
    assert sparsities_between(teacher, fast, third) == [0.5, 0.6]
    for whole, counts in ((Pruning("ziplm"), None), (fast, PrunedArchitecture.whole(teacher))):
        with pytest.raises(KdnasError, match="invalid --assistants auto: .* leaves all of the tea"):
            sparsities_between(teacher, whole, counts)


def test_the_whole_teacher_has_no_assistants(given: dict[str, Any]) -> None:
    for assistants, message in (("auto", "0% leaves all"), ("0.5", "give each once")):
        with pytest.raises(KdnasError) as error:
            distill(**{**given, "sparsity": 0.0}, assistants=assistants)
        assert f"invalid --assistants {assistants}: {message}" in str(error.value)
        assert not given["out"].exists()


def test_checkpoints_that_cannot_teach_are_refused(
    tmp_path: Path, given: dict[str, Any], teacher_folder: Path, make_teacher: Any
) -> None:
    other = Path(shutil.copytree(teacher_folder, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    config |= {"id2label": {"0": "sad", "1": "glad"}, "label2id": {"sad": 0, "glad": 1}}
    (other / "config.json").write_text(json.dumps(config))
    headless = Path(shutil.copytree(teacher_folder, tmp_path / "headless"))
    config |= {"architectures": ["BertModel"]}
    (headless / "config.json").write_text(json.dumps(config))
    for place, message in (
        (tmp_path / "none", "does not exist; give a checkpoint's folder"),
        (other, "its head predicts sad, glad; give a student that was trained for mrpc"),
        (headless, "trained for mrpc"),
    ):
        with pytest.raises(KdnasError) as error:
            distill(**given, assistants=str(place))
        assert f"invalid --assistants {place}: " in str(error.value)
        assert message in str(error.value) and "\n" not in str(error.value)
        assert not given["out"].exists()
    with pytest.raises(
        KdnasError, match="trials are those of a search, and this is none; give the"
    ):
        distill(**given, assistants="trial-3")
    assert not given["out"].exists()


def test_a_recipe_that_reads_nothing_of_a_teacher_has_no_assistants(given: dict[str, Any]) -> None:
    """A student taught by one would be the student without."""
    plain = {k: v for k, v in given.items() if k not in ("epochs", "task_epochs")}
    stage = {"name": "labels", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-3}
    for assistants in ("0.5", "auto", str(given["teacher"])):
        with pytest.raises(KdnasError) as error:
            distill(**plain, stages=[stage], assistants=assistants)
        assert f"invalid --assistants {assistants}: no stage of the recipe" in str(error.value)
        assert "\n" not in str(error.value) and not given["out"].exists()


def test_the_file_of_the_transfer_set_is_of_the_teacher_alone(make_run: Callable[..., Run]) -> None:
    """An assistant that comes first leaves it to a student that the teacher itself teaches."""
    stage = {"name": "transfer", "data": "transfer", "losses": {"logits": 1}, "epochs": 1}
    plainly = {"epochs": 3, "task_epochs": 3}  # as by default: a recipe with stages has its own
    given = {"stages": (Stage(**stage, lr=1e-3),), "transfer_rows": 250, **plainly}
    steps = Stepwise(make_run(**given))
    home, plain = steps.run.folder, Candidate(Architecture(1, 2, 16, 32, "gelu"))
    steps.prepared  # noqa: B018
    taught = replace(plain, assistants=(str(home / "teacher"),))
    [assistant] = assistants_of(steps.context, taught)
    copy_checkpoint(steps.prepared, home / "teacher", assistant.folder)
    FullTraining(taught, home / "student").prepare(steps.prepared)
    assert not (home / "transfer.jsonl.gz").exists()
    FullTraining(plain, home / "student").prepare(steps.prepared)
    assert (home / "transfer.jsonl.gz").exists()


@pytest.mark.parametrize(
    ("assistants", "message"),
    [
        ("0.6,0.4", "give each once, the lowest first, and all below --sparsity"),
        ("0.6,0.9", "give each once, the lowest first, and all below --sparsity"),
        ("60,70", "expected shares above 0 and below 1, such as 0.6,0.8"),
        ("a", "expected sparsities with commas between them"),
        ("0.6,trial-3", "trial-3 is a student already and learns from none; let it stand first"),
        ("trial-1,/x/y,0.6", "/x/y is a student already and learns from none"),
        ("auto,0.6", "auto finds the only assistant; leave the others out"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(assistants: str, message: str) -> None:
    with pytest.raises(KdnasError) as error:
        validated({"pruned": "ziplm", "sparsity": 0.8, "assistants": assistants})
    assert f"invalid --assistants {assistants}: {message}" in str(error.value)


def test_sparsities_are_shares_or_in_percent() -> None:
    for words in ("0.6,0.85", "60%,85%", "60%,0.85"):
        assert assistants_in(words) == ("0.6", "0.85")
        validated({"pruned": "ziplm", "sparsity": 0.9, "assistants": words})
    for words in ("60%,120%", "0%", "-5%"):
        with pytest.raises(KdnasError, match="expected shares above 0 and below 1, .* or 60%,80%"):
            validated({"pruned": "ziplm", "sparsity": 0.9, "assistants": words})
    assert sparsity_of("%") is None and sparsity_of("a%") is None


def test_a_search_has_no_assistants(flags: list[str], command: Said, tmp_path: Path) -> None:
    code, error = command("search", *flags, "--out", tmp_path / "run", "--assistants", 0.6)
    assert code == 2 and error.count("\n") == 1
    assert "invalid --assistants 0.6: a search has none; give them for one student" in error


@pytest.fixture
def flags(teacher_folder: Path, data_folder: Path) -> list[str]:
    return flags_of({"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **QUICK})


def test_a_candidate_with_assistants_comes_back_from_its_parameters() -> None:
    shape = Architecture(3, 4, 32, 64, "gelu")
    pruning = Pruning("ziplm", sparsity=0.9)
    candidate = Candidate(shape, pruning=pruning, assistants=("trial-3", "0.6", "0.8"))
    assert Candidate.from_params(candidate.params) == candidate
    assert candidate.label.endswith("ziplm 90% taught by trial-3,60%,80%")
    others = (Candidate(shape, pruning=pruning), Candidate(shape, assistants=("/runs/a/student",)))
    assert len({candidate.key, *(one.key for one in others)}) == 3
    assert others[1].label.endswith("taught by a")


def test_shapes_are_trained_in_full_for_this(make_run: Callable[..., Run]) -> None:
    """Each by the student's recipe, in the teacher's vocabulary; its word tells its shape."""
    context = open_context(make_run())
    small = Architecture(1, 2, 16, 32, "gelu")
    student = Candidate(small, "logits", "2000", assistants=("2x32-h4-f64-gelu", "2x24-h2-f9-relu"))
    first, second = assistants_of(context, student)
    shapes = (Architecture(2, 4, 32, 64, "gelu"), Architecture(2, 2, 24, 9, "relu"))
    assert first.candidate == Candidate(shapes[0], "logits")
    assert second.candidate == Candidate(shapes[1], "logits", assistants=student.assistants[:1])
    name = "assistant-2x32-h4-f64-gelu-2x24-h2-f9-relu"
    assert second.folder == context.run.folder / "assistants" / name
    assert (second.title, second.step) == (
        "2x24 h2 f9 relu logits taught by 2x32",
        f"distil {name}",
    )
    pruned = Candidate(small, pruning=Pruning("ziplm", 0.9), assistants=("2x32-h4-f64-gelu", "0.5"))
    first, second = assistants_of(context, pruned)
    assert first.candidate == Candidate(shapes[0])
    assert second.candidate is not None and second.candidate.pruning == Pruning("ziplm", 0.5)
    assert second.folder.name == "assistant-ziplm-2x32-h4-f64-gelu-50"


LOGITS = {"name": "task", "data": "task", "losses": {"task": 1, "logits": 1}, "epochs": 1}
HIDDEN = {**LOGITS, "losses": {**LOGITS["losses"], "hidden": 1}}
ATTENTION = {**LOGITS, "losses": {**LOGITS["losses"], "attention": 1}}


@pytest.mark.parametrize(
    ("shape", "words", "loss", "message"),
    [
        ("1x16", "half,3x32", LOGITS, "what it teaches (3x32 h4 f64 gelu taught by 2x32) 26,818;"),
        ("2x32", "1x32", LOGITS, "assistants 1x32: it has 9,730 parameters without embeddings, wh"),
        ("2x16", "2x32,1x32", HIDDEN, "stage 'task' cannot learn from 1x32: a student of 2 layers"),
        (
            "1x16-h4",
            "2x32-h2",
            ATTENTION,
            "'task' cannot train 2x32: the loss attention compares 4",
        ),
        ("1x16-h4", "2x32,2x24-h2", ATTENTION, "'task' cannot learn from 2x32: the loss attention"),
        ("1x16-h2", "2x32", ATTENTION, "'task' cannot learn from 2x32: the loss attention"),
    ],
)
def test_neighbours_that_do_not_fit_are_refused(
    make_run: Callable[..., Run], shape: str, words: str, loss: dict[str, Any], message: str
) -> None:
    plainly = {"epochs": 3, "task_epochs": 3}  # as by default: a recipe with stages has its own
    stages = (Stage(**loss, lr=1e-3),)
    run = make_run(architecture=shape, assistants=words, stages=stages, **plainly)
    context = open_context(run)
    inputs = read_inputs(context)
    [student] = asked_candidates(inputs.space)
    with pytest.raises(KdnasError) as error:
        check_assistants(context, inputs, student)
    assert str(error.value).startswith("invalid --assistants ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_short_trainings_of_shapes_are_looked_after(make_run: Callable[..., Run]) -> None:
    """Where the recipe goes on from mini-KD, an assistant begins with one, at its own depth."""
    given = {"architecture": "1x16", "assistants": "2x24", "mini_losses": {"hidden": 1}}
    given |= {"hidden_losses": {"hidden": 1}, "mini_score": "hidden", "after_mini_kd": True}
    steps = Stepwise(make_run(**given))
    assert steps.settings.follows_mini_kd
    found = states_for(steps.space, steps.teacher, steps.settings)
    assert {state.layer for state in found} == {1, 2, 3}  # of one layer 3, of two 1 + 2 and 3
    mapped = make_run(**given, mapping={1: [[3]]}, out=steps.run.folder / "mapped")
    context = open_context(mapped)
    inputs = read_inputs(context)
    with pytest.raises(KdnasError, match="assistants 2x24: stage 'mini-kd' cannot train 2x24: inv"):
        check_assistants(context, inputs, asked_candidates(inputs.space)[0])


def test_a_recipe_for_students_without_layers_trains_no_assistant(given: dict[str, Any]) -> None:
    plain = ("epochs", "task_epochs", "pruned", "sparsity")
    own = {name: value for name, value in given.items() if name not in plain}
    with pytest.raises(KdnasError, match="2x32: recipe 'static' is for students without layers; "):
        distill(**own, architecture="0x16", assistants="half")
    assert not given["out"].exists()


def test_a_plan_has_shapes_with_their_time(
    teacher_folder: Path, data_folder: Path, command: Said, tmp_path: Path
) -> None:
    own = {"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **ONE}
    flags = flags_of(own)
    given = ("--architecture", "1x16", "--assistants", "half,2x24 h2", "--out", tmp_path / "run")
    assert command("distill", *flags, *given, "--dry-run", "--json")[0] == 0
    found = json.JSONDecoder().raw_decode(command.all[command.all.index("{") :])[0]
    assert found["student"] == "1x16 h2 f32 gelu taught by 2x32,2x24"
    steps = {step["title"]: step["seconds"] for step in found["steps"]}
    titles = ["assistant: 2x32 h4 f64 gelu", "assistant: 2x24 h2 f48 gelu taught by 2x32"]
    titles += ["distil the student", "control: the student without assistants"]
    assert [title for title in steps if title in titles] == titles
    first, second, *_ = (steps[title] for title in titles)
    assert first > second > steps["control: the student without assistants"]
    assert not (tmp_path / "run").exists()
