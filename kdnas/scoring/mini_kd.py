"""Mini-KD: a short run of a recipe on the proxy, after which held-out rows score a candidate."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any
from zipfile import is_zipfile

from kdnas.config import Settings, settings_of
from kdnas.config.choices import STATIC
from kdnas.config.recipe import Stage
from kdnas.distillation.outputs import State
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.training import heldout_losses
from kdnas.files.curves import MINI_KD, Record, forget
from kdnas.measure.quiet import computing
from kdnas.recipes.full import stage_key
from kdnas.recipes.stages import (
    has_views,
    in_standard_units,
    schedule_of,
    shapes_of,
    teacher_request,
    views_of,
    weighted_losses,
)
from kdnas.recipes.training import train_by_stage, with_task_head
from kdnas.recipes.views import learn_views
from kdnas.runtime.device import Runtime
from kdnas.scoring.agreement import heldout_agreement
from kdnas.scoring.proxy import Proxy
from kdnas.scoring.scorer import Budget, Score
from kdnas.space import Candidate, SearchSpace
from kdnas.space.candidate import DEFAULT_RECIPE, TEACHERS_VOCABULARY, shape_of_assistant
from kdnas.students.build import StudentInitialiser, initialiser_of
from kdnas.students.pruning import PrunedStudents
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher

# A loss on held-out rows, and the 95% interval of the score, 1 less that, where one is known.
Heldout = tuple[float, tuple[float, float] | None]


class MiniKD:
    """A scorer: trains any candidate of one teacher briefly on one proxy.

    The teacher gives the students their weights, but is not run: its signal for the proxy is
    stored. `record` takes note of each training; `general` has the general teacher's signal for
    the rows that are trained on, where stages of a short run learn from it; `pruned` makes students
    that are pruned, where the space has any; `recipes` are those of the space.
    """

    def __init__(
        self,
        teacher: Teacher,
        proxy: Proxy,
        settings: Settings,
        runtime: Runtime,
        record: Record = forget,
        general: DistillationData | None = None,
        pruned: PrunedStudents | None = None,
        recipes: Sequence[str] = (DEFAULT_RECIPE,),
    ) -> None:
        self.teacher, self.proxy, self.settings = teacher, proxy, settings
        self.runtime, self.record, self.general = runtime, record, general
        self.pruned, self.recipes = pruned, recipes
        self.stage = settings.mini_stage
        self.rows = in_standard_units(proxy.data.take(proxy.training), teacher)
        self.initialisers: dict[tuple[bool, bool], StudentInitialiser] = {}
        self._settings: dict[str, Settings] = {}
        # Measured now: processes that score side by side share what is there when they begin.
        for recipe in recipes:
            begins_general = self.settings_of(recipe).short_stages[0].is_general
            if general or not begins_general:
                initialiser = self._initialiser(recipe, general=begins_general)
                if self.settings_of(recipe).students == STATIC:
                    _ = initialiser.vectors

    @cached_property
    def data(self) -> DistillationData:
        """What candidates train on; of the teacher's signal, nothing else here has need."""
        store, kind = self.proxy.store, self.proxy.data.task_type
        signal = store.subset(self.proxy.training)
        return DistillationData(self.teacher, self.rows, signal, store.statistics(kind))

    def score(self, candidate: Candidate, budget: Budget) -> Score:
        """Trains a candidate; its score is the explained share, 1 minus the held-out loss."""
        start = time.perf_counter()
        with computing(self.runtime.device):
            state = self.start(candidate)
        initial = None
        if not _is_begun(budget.checkpoint):
            self._fit(state, candidate.recipe)
            initial = self._initial(state, candidate)
        which = (candidate.recipe, candidate.vocabulary)
        loss, interval = self._scored(
            *(state, *which, budget.share, budget.checkpoint, budget.title)
        )
        seconds = time.perf_counter() - start
        return Score(1 - loss, interval, seconds=seconds, student=state, initial=initial)

    def initial(self, candidate: Candidate) -> float | None:
        """The score of a candidate as it is initialised; None where it does not know the task.

        Of its losses, only those that score it are fitted.
        """
        with computing(self.runtime.device):
            return self._initial(self.start(candidate), candidate)

    def start(self, candidate: Candidate) -> StudentState:
        """A student before the short run of its recipe.

        It keeps the parts of its teacher that matter most on the proxy; of the general teacher,
        where the recipe begins with that one.
        """
        general = self.settings_of(candidate.recipe).short_stages[0].is_general
        return self._initialiser(candidate.recipe, general=general).student(candidate)

    def untrained(self, candidate: Candidate) -> StudentState:
        """A student with the weights of the task's teacher, whatever its recipe begins with."""
        return self._initialiser(candidate.recipe, general=False).student(candidate)

    def train(
        self,
        state: StudentState,
        recipe: str = DEFAULT_RECIPE,
        vocabulary: str = TEACHERS_VOCABULARY,
        *,
        until: float = 1.0,
        checkpoint: Path | None = None,
        title: str = MINI_KD,
    ) -> float:
        """Trains a student in place; returns its loss on the held-out part of the proxy.

        Args:
            state: Fresh from `start`, also where a checkpoint has more.
            recipe: The candidate's.
            vocabulary: The candidate's, in whose tokens its predictions are scored.
            until: Share of the training after which to pause and score.
            checkpoint: File that keeps a paused training, for the next call to go on from.
            title: Names the student where progress is shown and recorded.
        """
        return self._scored(state, recipe, vocabulary, until, checkpoint, title)[0]

    def key_of(self, candidate: Candidate) -> dict[str, Any]:
        """All that decides a candidate after its short run, beside its teacher and the proxy."""
        settings = self.settings_of(candidate.recipe)
        lower = {"lower_rates": True} if candidate.pruning and settings.lower_rates else {}
        return {
            **lower,
            "candidate": candidate.params,
            "stages": [stage_key(stage, settings) for stage in settings.short_stages],
            "limits": [settings.mini_epochs, settings.mini_steps, settings.mini_seconds],
            "inherit": settings.inherit,
            "seed": settings.seed,
        }

    def heldout_loss(self, state: StudentState) -> float:
        """What scores candidates, 1 less the score: of a student as it is."""
        return self._heldout(state, TEACHERS_VOCABULARY)[0]

    def schedule(self, epochs: float, steps: int | None) -> Schedule:
        """How candidates are trained with mini-KD's own stage."""
        schedule, seconds = schedule_of(self.stage, self.settings), self.settings.mini_seconds
        return replace(schedule, epochs=epochs, max_steps=steps, max_seconds=seconds)

    def settings_of(self, recipe: str) -> Settings:
        """The run's settings with those of a recipe on offer."""
        if recipe not in self._settings:
            self._settings[recipe] = settings_of(self.settings, recipe)
        return self._settings[recipe]

    def _scored(
        self,
        state: StudentState,
        recipe: str,
        vocabulary: str,
        until: float,
        checkpoint: Path | None,
        title: str,
    ) -> Heldout:
        curve = self._run(state, recipe, until, checkpoint, title)
        found = self._heldout(state, vocabulary)
        self.record(title, MINI_KD, curve, found[0])
        return found

    def _initial(self, state: StudentState, candidate: Candidate) -> float | None:
        """The score of a student before its short run; None where it does not know the task yet."""
        if self.settings_of(candidate.recipe).short_stages[0].is_general:
            return None
        return 1 - self._heldout(state, candidate.vocabulary)[0]

    def _fit(self, state: StudentState, recipe: str) -> None:
        """Fits what losses learn where they score students; the short run goes on from there."""
        settings = self.settings_of(recipe)
        if settings.scores_agreement or settings.short_stages[0].is_general:
            return
        context = (self.stage, state, self.data, self.settings, self.runtime)
        state.keep(weighted_losses(*context).named)

    def _run(
        self, state: StudentState, recipe: str, until: float, checkpoint: Path | None, title: str
    ) -> list[tuple[int, float]]:
        """The short run of a recipe; returns its losses by step, of all stages in a row."""
        settings, curve, steps = self.settings_of(recipe), list[tuple[int, float]](), 0
        resumed, was_general = _is_begun(checkpoint), False  # a checkpoint has fitted parameters
        for stage in settings.short_stages:
            if was_general and not stage.is_general:
                self._take_task_head(state, recipe)
            was_general = stage.is_general
            trained = train_by_stage(
                *(stage, state, self._data_of(stage, state, settings), settings, self.runtime),
                title=title,
                schedule=self._schedule_of(stage, settings),
                checkpoint=checkpoint,
                fit=not resumed,
                until=until,
            )
            curve += [(steps + step, loss) for step, loss in trained.curve]
            steps += trained.steps
        return curve

    def _schedule_of(self, stage: Stage, settings: Settings) -> Schedule:
        """How long and how fast: of steps and seconds, a stage has its share of the epochs."""
        share = stage.epochs / settings.mini_epochs
        steps, seconds = settings.mini_steps, settings.mini_seconds
        return replace(
            schedule_of(stage, settings),
            max_steps=steps and max(1, round(share * steps)),
            max_seconds=seconds and share * seconds,
        )

    def _data_of(self, stage: Stage, state: StudentState, settings: Settings) -> DistillationData:
        """The rows of the proxy that are trained on, whatever the stage reads in full."""
        if stage.is_general:
            assert self.general is not None, "the general teacher's signal was prepared"
            return self.general
        if not has_views(stage):
            return self.data
        rows, runtime = self.rows, self.runtime
        views = views_of(stage, shapes_of(self.teacher, state), settings)
        learn_views(views, self.teacher, rows, settings.batch_size, runtime, self.record)
        request = teacher_request(stage, state.architecture, self.teacher, settings)
        return DistillationData.prepare(self.teacher, rows, request, runtime, views)

    def _initialiser(self, recipe: str, *, general: bool) -> StudentInitialiser:
        inherit, seed = self.settings_of(recipe).inherit, self.settings.seed
        if (inherit, general) not in self.initialisers:
            teacher, rows = self.teacher, self.rows
            if general:
                assert self.general is not None, "the general teacher's signal was prepared"
                teacher, rows = self.general.teacher, self.general.data
            given = (teacher, rows, self.runtime)
            pruned = None if general else self.pruned
            made = initialiser_of(*given, inherit=inherit, seed=seed, pruned=pruned)
            self.initialisers[inherit, general] = made
        return self.initialisers[inherit, general]

    def _take_task_head(self, state: StudentState, recipe: str) -> None:
        """Gives a general student the head of the task's teacher; its losses begin anew."""
        before = self._initialiser(recipe, general=True)
        task = replace(before, teacher=self.teacher.model)
        state.model, state.parts = with_task_head(task, state).model, {}

    def _heldout(self, state: StudentState, vocabulary: str) -> Heldout:
        """How far a student as it is falls short on the held-out part of the proxy."""
        pad_id = self.teacher.pad_id
        rows, signal = self.proxy.scored(vocabulary)
        if self.settings.scores_agreement:
            found = heldout_agreement(state.model, rows, signal, self.runtime, pad_id=pad_id)
            return 1 - found.value, found.interval
        # A loss that the student was not trained with is fitted to it as it is.
        context = (self.stage, state, self.data, self.settings, self.runtime)
        losses = weighted_losses(*context, scored=self.settings.scored_losses)
        given = (state.model, losses, rows, signal, self.runtime)
        return fmean(heldout_losses(*given, pad_id=pad_id).values()), None


def _is_begun(checkpoint: Path | None) -> bool:
    """Whether a training was paused here: it left a zip archive, unless that is damaged."""
    return checkpoint is not None and is_zipfile(checkpoint)


def states_for(
    space: SearchSpace, teacher: Teacher, settings: Settings, *, general: bool = False
) -> frozenset[State]:
    """The states of the teacher, or of the `general` one, that short runs read for any student.

    Stages that read views of a teacher have a store of their own. Assistants of given shapes are no
    students of the space, but may begin with such a run, too.
    """
    depths = [space.choices.get(name, (0,)) for name in ("num_hidden_layers", "num_decoder_layers")]
    pruned = {space.pruned_teacher(one).num_hidden_layers for one in space.prunings}
    depths[0] = (*depths[0], *sorted(pruned))
    shapes = [
        replace(space.teacher, num_hidden_layers=int(layers), num_decoder_layers=int(decoders))
        for layers, decoders in itertools.product(*depths)
    ]
    taught = [shape for word in space.assistants if (shape := shape_of_assistant(word))]
    found = frozenset[State]()
    for recipe in space.every_recipe:
        own = settings_of(settings, recipe)
        trained = [*shapes, *(taught if own.follows_mini_kd else ())]
        scored = () if general else own.scored_losses
        stages = [stage for stage in own.short_stages if stage.is_general == general]
        stages = [stage for stage in stages if not has_views(stage)]
        for stage, shape in ((stage, shape) for stage in stages for shape in trained):
            found |= teacher_request(stage, shape, teacher, own, scored).states
    return found
