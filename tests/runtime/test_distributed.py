"""Several processes that train one student: what they make is what one process makes."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import QUICK, flags_of, sentence
from support.postgresql import free_port
from support.stepwise import Stepwise
from support.tiny import small_config
from support.tiny_pairs import tiny_pair
from transformers import AutoModelForSequenceClassification

from kdnas.config import Settings
from kdnas.distillation.batches import collate, part_of
from kdnas.distillation.losses import LOSSES, Shapes
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.outputs import OutputRequest, attention_states, hidden_states
from kdnas.errors import DivergedError, KdnasError
from kdnas.files.atomic import read_json
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.runtime.distributed import Team, _packed
from kdnas.students.checkpoint import load_student
from kdnas.students.pruning import Kept, sliced
from kdnas.students.pruning.kept import shape_of
from kdnas.tasks import Examples, encode, load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import load_teacher

LAUNCH = ["-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes"]
# The command itself, with a checkpoint after every step and slow enough to be killed in time.
SLOW = """
import os, time
import kdnas.distillation.checkpoint as checkpoints
import kdnas.distillation.training as core
from kdnas.cli.app import main

checkpoints.SECONDS = -1.0
step = core._Training.step
def slow(self, indices):
    if self.pace.step == 3 and os.environ["SLOW"] == str(len(self.objective.ends)):
        time.sleep(60)
    return step(self, indices)
core._Training.step = slow
main()
"""

# Three calls: one that the other process cannot follow, one that it can, and one that breaks off.
CALLS = """
import torch
from kdnas.errors import KdnasError
from kdnas.runtime.distributed import lead_or_follow, team

def missing():
    raise ValueError("x/manifest.json is missing")

class Store:
    def __reduce__(self):
        return missing, ()

def job(number, team):
    print(f"rank {team.rank} does {number}", flush=True)
    return team.total(torch.ones(1))

def command():
    try:
        with team().calling(job, Store()):
            print("never")
    except KdnasError as error:
        print(f"refused: {error}", flush=True)
    with team().calling(job, 1):
        print(job(1, team()).item(), flush=True)
    try:
        with team().calling(job, 2):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return 130

raise SystemExit(lead_or_follow(command))
"""


@pytest.fixture
def kd_data(teacher_folder: Path, runtime: Runtime) -> DistillationData:
    rng = random.Random(0)
    teacher = load_teacher(str(teacher_folder), load_spec("sst2"))
    teacher.has_head = True
    texts = [" ".join(sentence(rng) for _ in range(rng.randint(1, 3))) for _ in range(13)]
    labels = np.array([0, 1, -100, 1, 0, -100, -100, 1, 1, 0, 0, 1, 1])
    data = encode(Examples(texts, None, labels), teacher.tokenizer, 48)
    wanted = OutputRequest(hidden_states(range(4)) | attention_states(3), True)
    return DistillationData.prepare(teacher, data, wanted, runtime)


@pytest.mark.parametrize("examples", [13, 2])
@pytest.mark.parametrize("stride", [1, 3])
def test_the_parts_of_a_batch_have_the_whole_batchs_gradients(
    kd_data: DistillationData, runtime: Runtime, teacher_folder: Path, stride: int, examples: int
) -> None:
    student = load_teacher(str(teacher_folder), load_spec("sst2")).model
    torch.manual_seed(1)
    shapes = Shapes(kd_data.teacher.architecture, kd_data.teacher.architecture)
    weights = {"hidden": 1.0, "logits": (2.0, 1.0), "relations": 0.5, "task": 1.0}
    objective = WeightedLosses(
        {
            name: (weight, LOSSES[name](shapes, None, kd_data.statistics))
            for name, weight in weights.items()
        }
    )
    parameters = [*student.parameters(), *objective.parameters()]
    indices = np.random.default_rng(0).permutation(13)[:examples]
    whole = collate(kd_data.data, indices, 0, stride)

    def gradients(size: int) -> tuple[float, list[torch.Tensor]]:
        total = 0.0
        for rank in range(size):
            part = part_of(kd_data.data, indices, 0, stride, rank, size)
            shares = objective.shares(part, whole)
            if rank >= len(indices):
                shares = dict.fromkeys(shares, 0.0)
            loss = objective(student, part, kd_data.source, shares)["total"]
            loss.backward()
            total += float(loss.detach())
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        return total, found

    loss, expected = gradients(1)
    assert max(float(each.abs().max()) for each in expected) > 0.01
    for size in (2, 3):
        total, found = gradients(size)
        assert total == pytest.approx(loss, rel=1e-5)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_what_the_others_get_is_the_same(kd_data: DistillationData, runtime: Runtime) -> None:
    batch = collate(kd_data.data, np.arange(4), 0)
    wanted = OutputRequest(hidden_states([1, 3]), True)
    kd_data.source.fetch(batch, wanted)
    model = kd_data.teacher.model
    model(**batch.inputs, output_hidden_states=True)  # hooks of transformers' are there now
    copy, source, place = pickle.loads(_packed((model, kd_data.source, runtime)))
    assert place.device == runtime.device and place.precision == runtime.precision
    for name, value in model.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)
    theirs, ours = source.fetch(batch, wanted), kd_data.source.fetch(batch, wanted)
    assert all(torch.equal(theirs.states[s], ours.states[s]) for s in ours.states)
    assert len(_packed(kd_data.source)) < 3_000  # the store itself stays on the disk


@pytest.mark.parametrize("family", ["bert", "modernbert", "distilbert"])
def test_a_pruned_student_gets_there(family: str) -> None:
    """Its shapes are not those of its config, and it has been used before."""
    whole = AutoModelForSequenceClassification.from_config(small_config(family)).eval()
    shape = shape_of(whole.config)
    few = [list(range(8))] * shape.num_hidden_layers
    heads = [[0, 1], *[[0]] * (shape.num_hidden_layers - 1)]
    ids = torch.randint(5, 20, (2, 7))
    for model in (whole, sliced(whole, Kept.of(heads, few))):
        with torch.no_grad():
            expected = model(input_ids=ids, output_hidden_states=True)
            copy = pickle.loads(_packed(model))
            found = copy(input_ids=ids, output_hidden_states=True)
        assert torch.equal(found.logits, expected.logits) and not copy.training
        assert len(found.hidden_states) == len(expected.hidden_states)
        assert torch.equal(found.hidden_states[-1], expected.hidden_states[-1])


def test_weights_that_are_not_tied_get_there_apart() -> None:
    model = tiny_pair("t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    copy = pickle.loads(_packed(model))
    ours, theirs = (dict(each.named_parameters()) for each in (model, copy))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_launch_that_would_split_the_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(KdnasError, match="launched for FSDP.*use accelerate launch --multi_gpu"):
        start_runtime()


def test_alone_nobody_is_called() -> None:
    team = Team()
    with team.calling(print, "never"):
        assert team.leads and team.broadcast(3) == 3
    assert team.total(torch.ones(2)).tolist() == [1, 1]


@pytest.mark.slow
def test_who_cannot_follow_is_named_and_who_is_left_alone_ends(tmp_path: Path) -> None:
    script = tmp_path / "calls.py"
    script.write_text(CALLS)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    place["OMP_NUM_THREADS"] = "1"
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    started = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, **place, "RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    first, second = (process.communicate(timeout=120)[0] for process in started)
    assert [process.returncode for process in started] == [130, 0], first + second
    refused, *rest = first.splitlines()
    why = "process 1 cannot take part in the training: x/manifest.json is missing; set KDNAS_CACHE"
    assert refused.startswith(f"refused: {why}")
    assert rest == ["rank 0 does 1", "2.0"]
    assert second.splitlines() == ["rank 1 does 1", "rank 1 does 2"]


@pytest.mark.slow
def test_two_processes_one_killed_and_one_that_goes_on_make_what_one_makes(
    teacher_folder: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    given = {
        **QUICK,
        "teacher": str(teacher_folder),
        "task": "mrpc",
        "data_dir": data_folder,
        "teacher_lr": 5e-4,
        "batch_size": 15,
        "trials": 1,
        "cost": "params",
        "latency_quiet": False,
    }
    settings = Settings(**given, out=tmp_path / "one")
    one = Run.create(with_type_defaults(settings, load_spec("mrpc")))  # as the command does
    Stepwise(one).everything()

    script, two = tmp_path / "slow.py", tmp_path / "two"
    script.write_text(SLOW)
    flags = flags_of(given)
    flags = [*(f for f in flags if f not in ("--latency-quiet", "False")), "--no-latency-quiet"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
        "KDNAS_CACHE": str(tmp_path / "another-cache"),
        "SLOW": "3",  # the task's stage, with labels, logits and hidden states
    }
    launched = subprocess.Popen(
        [sys.executable, *LAUNCH, "2", str(script), "search", *flags, "--out", str(two)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: any(two.glob("work/student/*/task.pt")), launched)
    ranks = processes(launched.pid)
    ranks["1"].kill()
    output, _ = launched.communicate(timeout=60)
    assert launched.returncode != 0
    assert not [p.pid for p in ranks.values() if p.is_running() and p.status() != "zombie"]
    for line in ("run folder: ", "fine-tuning the teacher", "student: distilling"):
        assert output.count(line) == 1, output
    assert not (two / "student").exists()

    # The rest by one process, from where two had come.
    Stepwise(Run.open(two)).everything()
    teachers = [logits(load_student(folder / "teacher")) for folder in (one.folder, two)]
    students = [logits(load_student(folder / "student")) for folder in (one.folder, two)]
    for ours, theirs in (teachers, students):
        assert float(ours.std()) > 1e-3
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    scores = [
        read_json(folder / "report.json")["student"]["scores"] for folder in (one.folder, two)
    ]
    assert scores[0] == scores[1]
    capfd.readouterr()


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(5, 165).view(8, 20)
    with torch.no_grad():
        said: torch.Tensor = model(ids).logits
    return said


def processes(launcher: int) -> dict[str, psutil.Process]:
    """The launched processes by rank."""
    children = psutil.Process(launcher).children(recursive=True)
    return {found.environ().get("RANK", ""): found for found in children}


def wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240
    while not done():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_training_that_diverges_leaves_its_team_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All see the same loss, so that all stop at the same step and wait for the next training."""

    def diverges(**_: object) -> None:
        raise DivergedError("it diverged")

    leader, other = Team(0, 2), Team(1, 2)
    calls = iter([(diverges, (), {}), (diverges, (), {}), None])
    for team in (leader, other):
        monkeypatch.setattr(team, "_check", lambda _: True)
    monkeypatch.setattr(leader, "broadcast", lambda value: value)
    monkeypatch.setattr(other, "broadcast", lambda _: next(calls))
    other.serve()
    assert next(calls, "all were served") == "all were served"
    with pytest.raises(DivergedError), leader.calling(diverges):
        assert leader.working
        diverges()
    assert not leader.working
