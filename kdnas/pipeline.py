"""The whole way, from a teacher and a task to a student and a report.

Each step leaves its result in the run folder, and is skipped when that result is there.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.classroom import Classroom
from kdnas.console import say
from kdnas.data import RunData, prepare_data
from kdnas.distill.distilled import Distilled
from kdnas.distill.full import FullKD
from kdnas.distill.mini import MiniKD, states_for
from kdnas.distill.proxy import Proxy, split_heldout
from kdnas.distill.staging import check_logits, check_relations
from kdnas.measure import count_params
from kdnas.report import Control, Results, write_report
from kdnas.run import Run
from kdnas.runtime import start_runtime
from kdnas.search.candidate import Evaluator
from kdnas.search.join import check_same_teacher, identity, publish
from kdnas.search.loop import SearchLoop
from kdnas.search.plan import Plan
from kdnas.search.presence import present, study_here
from kdnas.search.rungs import Ladder
from kdnas.search.samplers import make_sampler
from kdnas.search.storage import storage_url
from kdnas.search.study import Direction, control_name, open_study, settled
from kdnas.search.warmstart import warm_start
from kdnas.search.winner import choose_winner
from kdnas.space import Architecture, SearchSpace
from kdnas.space.handpicked import hand_picked
from kdnas.student.ship import load_student, ship_student, shipped
from kdnas.tasks import load_data, load_spec
from kdnas.tasks.evaluate import evaluate_model
from kdnas.teacher.cache import fingerprint
from kdnas.teacher.general import check_general_teacher
from kdnas.teacher.load import (
    Teacher,
    has_head,
    load_config,
    load_teacher,
    load_tokenizer,
    teacher_source,
)
from kdnas.teacher.prepare import fine_tune_teacher, open_or_build_store

RANDOM_SEARCH = "random search"
EMBEDDED_NAME = "sentence-transformers/all-MiniLM-L6-v2"
FINAL_REPEATS = 100
DIRECTIONS: dict[str, list[Direction]] = {
    "reward": ["maximize"],
    "pareto": ["minimize", "minimize"],
}


class Pipeline:
    """The steps of one run; what several of them need is made once, when it is first asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.settings = run.settings
        self.runtime = start_runtime(run.settings)

    def everything(self) -> dict[str, Any]:
        """The seven steps; returns the content of report.json."""
        with self.run.alone(), present(study_here(self.settings, self.run.folder)):
            self.check()
            say(f"run folder: {self.run.folder}")
            self.open_study()
            self.search()
            winner = choose_winner(self.open_study(), speedup=self.settings.speedup)
            return self.deliver(winner, self.run.folder)

    def check(self) -> None:
        """Tells bad input before anything is written.

        Raises:
            KdnasError: What is wrong.
        """
        settings, source = self.settings, teacher_source(self.settings.teacher)
        config = load_config(source)
        if settings.teacher_as_is:
            stages = (settings.mini_stage, *settings.stages)
            check_logits(stages, has_head(config, self.data.spec), source)
        check_relations(settings.recipe, self.space)
        if settings.general_teacher:
            check_general_teacher(settings.general_teacher, config, self.data.tokenizer)
        self.classroom.check()

    def another(self, number: int | None, speedup: float | None) -> dict[str, Any]:
        """Steps 5 to 7 for another trial of the study, in a folder of its own."""
        with self.run.alone():
            chosen = choose_winner(self.open_study(), number=number, speedup=speedup)
            return self.deliver(chosen, self.run.folder / "students" / f"trial-{chosen.number}")

    def deliver(self, winner: FrozenTrial, home: Path) -> dict[str, Any]:
        """Steps 5 to 7 for one trial of the study; student and report go to `home`."""
        architecture = Architecture.from_params(winner.params)
        self.distil(architecture, winner.number, home / "student")
        drawn = self.random_search()
        controls = self.controls(architecture, drawn, home / "controls")
        results = self.results(winner, home, controls)
        return write_report(self.run, self.open_study(), drawn, results)

    # Step 1: the teacher and its data.

    @cached_property
    def data(self) -> RunData:
        """The task and the corpus, encoded for the teacher."""
        settings = self.settings
        source = teacher_source(settings.teacher)
        config, tokenizer = load_config(source), load_tokenizer(source)
        spec = load_spec(settings.task or "rotten-tomatoes", settings.tasks)
        task = load_data(spec, settings.data_dir)
        return prepare_data(task, settings, tokenizer, config)

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, fine-tuned on the task unless it is not to be or knows it already."""
        data, folder = self.data, self.run.folder / "teacher"
        source = teacher_source(self.settings.teacher)
        # A worker that joins meanwhile waits for the teacher rather than train another.
        with FileLock(self.run.folder / ".teacher.lock"):
            tuned = (folder / "config.json").exists()
            teacher = load_teacher(str(folder) if tuned else source, data.spec)
            if not tuned:
                self.run.once("fingerprint", source, lambda: self._fingerprint(teacher))
            if not (teacher.has_head or self.settings.teacher_as_is):
                say(f"fine-tuning the teacher on {len(data.train)} examples")
                with self.run.timed("teacher"):
                    fine_tune_teacher(teacher, data.train, self.settings, self.runtime, folder)
        teacher.name = source
        teacher.model.to(self.runtime.device)  # type: ignore[arg-type]
        return teacher

    def _fingerprint(self, teacher: Teacher) -> str:
        return fingerprint(teacher, self.data.train, self.data.distillation)

    # Step 2: the space.

    @cached_property
    def space(self) -> SearchSpace:
        """The students to choose from."""
        source = teacher_source(self.settings.teacher)
        return SearchSpace.from_teacher(load_config(source), source, self.settings.space)

    # Step 3: the signal.

    @cached_property
    def mini(self) -> MiniKD:
        """Mini-KD on the proxy, with the teacher's signal for it."""
        settings, data, teacher = self.settings, self.data, self.teacher
        proxy = data.distillation.take(data.proxy)
        states = states_for(self.space, teacher, settings)
        with self.run.timed("signal"):
            store = open_or_build_store(teacher, proxy, states, self.runtime)
        training, heldout = split_heldout(proxy, settings.heldout_fraction, settings.seed)
        return MiniKD(teacher, Proxy(proxy, store, training, heldout), settings, self.runtime)

    # Step 4: the search.

    @cached_property
    def evaluator(self) -> Evaluator:
        """Scores candidates."""
        return Evaluator(self.mini, self.settings)

    def open_study(self, control: str | None = None) -> Study:
        """The run's study with the run's sampler, or that of a control, named by its sampler."""
        settings = self.settings
        joined = identity(self.run)
        ours = joined or {
            "teacher": settings.teacher or EMBEDDED_NAME,
            "task": settings.task or "rotten-tomatoes",
            "objective": settings.objective,
        }
        name = control or settings.sampler
        planned = settings.trials if control else Plan.of(settings).candidates
        sampler = make_sampler(name, self.space, settings.seed, planned)
        url = storage_url(settings.storage, self.run.folder)
        title = control_name(settings.study, control) if control else settings.study
        directions, timeout = DIRECTIONS[settings.objective], settings.worker_timeout
        study = open_study(url, title, sampler, directions, ours, timeout)
        if not (control or joined):
            publish(study, settings)
        return study

    def search(self) -> None:
        """Evaluates candidates until the study has its total."""
        evaluator = self.evaluator
        evaluator.check_reachable(self.space.smallest)
        study = self.open_study()
        before = self.run.result("fingerprint")
        check_same_teacher(study, before, self._fingerprint(self.teacher))
        if self.settings.warm_start:
            warm_start(study, self.space, evaluator)
        with self.run.timed("search"):
            SearchLoop(study, self.space, evaluator, self.run, Plan.of(self.settings)).work()

    def random_search(self) -> Study | None:
        """Random search with the search's budget, as a control; what both try is paid for once."""
        settings = self.settings
        if settings.random_control == "off" or settings.sampler == "random":
            return None
        known = {Architecture.from_params(t.params): t for t in settled(self.open_study())}
        study = self.open_study("random")
        plan = Plan(settings.trials, Ladder(), known, RANDOM_SEARCH)
        with self.run.timed(RANDOM_SEARCH):
            SearchLoop(study, self.space, self.evaluator, self.run, plan).work()
        return study

    # Step 5: the winner in full.

    def distil(self, architecture: Architecture, trial: int | None, folder: Path) -> None:
        """Distils an architecture fully and ships it, going on from a trial's mini-KD."""
        record = {"architecture": architecture.params, "trial": trial, "method": "distilled"}
        if shipped(folder, record):
            return
        say(f"{folder.name}: distilling {architecture.label}")
        work = self._work(folder, architecture)
        with self.run.timed(f"distil {folder.name}"):
            distilled = self.full.run(
                architecture, lambda: self._after_mini_kd(architecture, trial), work, folder.name
            )
            ship_student(folder, distilled.student, self.teacher.tokenizer, record)
        shutil.rmtree(work, ignore_errors=True)

    @cached_property
    def full(self) -> FullKD:
        """Trains at full length."""
        return FullKD(self.settings, self.runtime, self.classroom, self.teacher.pad_id)

    @cached_property
    def classroom(self) -> Classroom:
        """Where its stages find their teachers and their data."""
        return Classroom(self.run, self.data, lambda: self.teacher, self.runtime)

    def _after_mini_kd(self, architecture: Architecture, trial: int | None) -> Distilled:
        distilled = self.mini.start(architecture)
        kept = self.run.folder / "trials" / str(trial)
        if trial is None or not distilled.load(kept):
            self.mini.run(distilled)
        return distilled

    # Step 6: evaluation, beside the controls.

    def controls(self, winner: Architecture, drawn: Study | None, folder: Path) -> list[Control]:
        """The same student without KD, and others with it: a hand-picked one, random search's."""
        self.fine_tune(winner, folder / "fine-tuned")
        made = [Control("fine-tuned without KD", winner, folder / "fine-tuned")]
        picked = hand_picked(self.space, winner)
        if picked is not None:
            self.distil(picked, None, folder / "hand-picked")
            made.append(Control("hand-picked, same depth", picked, folder / "hand-picked"))
        if drawn and self.settings.random_control == "full":
            best = choose_winner(drawn, speedup=self.settings.speedup)
            found = Architecture.from_params(best.params)
            self.distil(found, None, folder / "random-search")
            made.append(Control(RANDOM_SEARCH, found, folder / "random-search"))
        return made

    def fine_tune(self, architecture: Architecture, folder: Path) -> None:
        """Trains an architecture on labels alone, from the same start, and keeps it."""
        record = {"architecture": architecture.params, "trial": None, "method": "fine-tuned"}
        if shipped(folder, record):
            return
        say(f"{folder.name}: training {architecture.label} on labels alone")
        work = self._work(folder, architecture)
        with self.run.timed(f"control {folder.name}"):
            student = self.mini.start(architecture).student
            self.full.fine_tune(student, self.data.train, work, folder.name)
            ship_student(folder, student, self.teacher.tokenizer, record)

    def measured(self, architecture: Architecture, folder: Path) -> dict[str, Any]:
        """Scores and costs of a shipped student, measured once."""
        name = " ".join(("evaluate", *folder.relative_to(self.run.folder).parts))

        def compute() -> dict[str, Any]:
            model = load_student(folder)
            costs = self.evaluator.costs(model, FINAL_REPEATS)
            return {"costs": asdict(costs), "scores": self.score(model)}

        return self.run.once(name, architecture.params, compute)

    def _work(self, folder: Path, architecture: Architecture) -> Path:
        """Where an unfinished training keeps its state."""
        return self.run.folder / "work" / folder.name / architecture.label.replace(" ", "-")

    def score(self, model: Any) -> dict[str, float]:
        """A model's scores on the task's evaluation splits."""
        data = self.data
        return evaluate_model(model, data.evaluation, data.spec, self.runtime, self.teacher.pad_id)

    def results(self, winner: FrozenTrial, home: Path, controls: list[Control]) -> Results:
        """Everything that a report tells, apart from the trials."""
        architecture = Architecture.from_params(winner.params)
        teacher = self.teacher
        scores = {}
        if teacher.has_head:
            scores = self.run.once("evaluate teacher", 0, lambda: self.score(teacher.model))
        return Results(
            spec=self.data.spec,
            teacher_name=self.settings.teacher or EMBEDDED_NAME,
            teacher_params=count_params(teacher.model),
            teacher_scores=scores,
            winner=winner.number,
            architecture=architecture,
            home=home,
            student=self.measured(architecture, home / "student"),
            controls=[(c, self.measured(c.architecture, c.folder)) for c in controls],
            space_size=len(self.space.architectures),
            environment=self.runtime.describe(),
        )
