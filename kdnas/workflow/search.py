"""Step 4: the search, and random search beside it."""

from __future__ import annotations

from optuna.study import Study

from kdnas.space import Architecture
from kdnas.study.budget import Plan
from kdnas.study.join import check_same_teacher, identity, publish
from kdnas.study.loop import SearchLoop
from kdnas.study.rungs import Ladder
from kdnas.study.samplers import make_sampler
from kdnas.study.storage import storage_url
from kdnas.study.trials import Direction, control_name, evaluated, open_study, settled
from kdnas.study.warm_start import warm_start
from kdnas.teachers.load import EMBEDDED_NAME
from kdnas.workflow.prepare import Prepared

RANDOM_SEARCH = "random search"
DIRECTIONS: dict[str, list[Direction]] = {
    "reward": ["maximize"],
    "pareto": ["minimize", "minimize"],
}


class Searched(Prepared):
    """The run's study and what fills it."""

    @property
    def storage(self) -> str:
        """The URL of the storage that holds the study."""
        return storage_url(self.settings.storage, self.run.folder)

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
        title = control_name(settings.study, control) if control else settings.study
        study = open_study(self.storage, title, sampler, DIRECTIONS[settings.objective], ours)
        if not (control or joined):
            publish(study, settings)
        return study

    def search(self) -> None:
        """Evaluates candidates until the study has its total.

        Raises:
            KdnasError: The limits, the teacher or the data do not allow it.
        """
        self.check_same_data()
        evaluator = self.evaluator
        study = self.open_study()
        step = self.fingerprint_step
        before = step.read() if step.done() else None
        check_same_teacher(study, before, self._fingerprint(self.teacher))
        if self.settings.warm_start:
            warm_start(study, self.space, evaluator)
        with self.run.timed("search"):
            SearchLoop(study, self.space, evaluator, self.run, Plan.of(self.settings)).work()

    def work(self) -> None:
        """What a worker does: the search, then random search beside it."""
        self.search()
        self.random_search()

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
        return study if evaluated(study) else None
