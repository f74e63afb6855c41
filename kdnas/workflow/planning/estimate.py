"""Seconds that each step of a run should take, from measured speeds and counted steps."""

from __future__ import annotations

import math

import numpy as np

from kdnas.config import Settings, every_recipe
from kdnas.config.choices import STATIC
from kdnas.config.options.teacher import MOST_FOLDS
from kdnas.config.recipe import Stage
from kdnas.distillation.sandwich import A_STEP
from kdnas.measure.latency import NEW_TOKENS, CellPasses, cells_for, repeats_for
from kdnas.recipes.full import stage_on_labels
from kdnas.recipes.pseudo_labels import reads_pseudo_labels
from kdnas.recipes.stages import longer, reads_own_outputs, schedule_of, teacher_schedule
from kdnas.recipes.transfer_set import FILES as TRANSFER_FILES
from kdnas.recipes.transfer_set import reads_transfer
from kdnas.runs.context import Context
from kdnas.scoring.costs import FINAL
from kdnas.scoring.limits import Limits
from kdnas.scoring.proxy import split_heldout
from kdnas.space import Pruning, SearchSpace
from kdnas.space.arithmetic import arithmetic
from kdnas.space.known_shapes import DEPTHS
from kdnas.students.pruning import PRUNING_METHODS, count_cells
from kdnas.tasks.encode import EncodedExamples, Indices
from kdnas.teachers.out_of_fold import title_of
from kdnas.workflow.planning.probe import Speeds, usual_shape
from kdnas.workflow.preparing.check_teacher import SCORES
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.pruned import LATENCY_TABLE, TABLE_REPEATS
from kdnas.workflow.preparing.selection_rows import for_students, selection_rows
from kdnas.workflow.searching.screening import count_screened

# A step of distillation reads the teacher's signal and has more losses than one on labels alone;
# storing the signal writes it to disk as well.
DISTILLING, STORING = 1.15, 1.2
# Students that are so many times as fast have about this share of the arithmetic that the speed-up
# alone would leave them: small products are slower for their size.
OF_A_SPEED = 0.5
# Where the student is frozen, a step is its forward pass: a third of the arithmetic.
FROZEN = 1 / 3
# Times that scatter are taken again; those of candidates end once their speed-up is known, on the
# mean after this share of the passes (docs/results/speed.md, Timing until the speed-up is known).
AGAIN, UNTIL_KNOWN = 1.5, 0.6
# Building a student; intervals of a model's scores; tables, plots and pages.
START_SECONDS, INTERVAL_SECONDS, PAGE_SECONDS = 0.3, 1.0, 5.0
# What a step takes however little of its layers a student has, as a share of the teacher's: from
# the seconds of MiniLM pruned to 2x, 4x and 8x (entry `pruned` of docs/results.json).
OF_ANY_STEP = 0.25

Parts = dict[str, float]
# What a recipe reads of its teacher: it takes as long for fewer epochs.
SIGNAL, PSEUDO_LABELS, TRANSFER = "teacher signal", "pseudo-labels", "transfer set"
OF_FOLDS = tuple(map(title_of, range(MOST_FOLDS)))
OF_THE_TEACHER = (SIGNAL, PSEUDO_LABELS, TRANSFER, *OF_FOLDS)
TEACHER_TUNING = "teacher fine-tuning"
# What a report consists of.
SCORING, TIMING, PAGES = "scoring", "timing", "pages"


class Estimate:
    """What the steps of a run should take, each as seconds by part (see `runtime.plan.Step`).

    Args:
        jobs: Candidates that are scored side by side.
        unwritten: The share of the teacher's pseudo-labels that the cache does not have.
        folds: Teachers to be fine-tuned without a part of the rows, for what students learn there.
    """

    def __init__(
        self,
        context: Context,
        inputs: Inputs,
        speeds: Speeds,
        jobs: int = 1,
        unwritten: float = 1.0,
        folds: int = 0,
    ) -> None:
        self.settings, self.data, self.speeds = context.settings, inputs.data, speeds
        self.jobs, self.unwritten, self.folds = jobs, unwritten, folds
        # A run's file of them has what the teacher wrote.
        self.has_transfer = any(context.run.folder.glob(TRANSFER_FILES))
        self.shared = context.runtime.team.size  # processes that train together
        self.share = of_a_speed(speeds.share, self.settings)
        self.lengths = for_students(inputs.data, context.settings).train.sizes
        self.space = inputs.space
        # Nobody knows yet which recipe on offer will train in full: the longest one, at worst, with
        # what its teacher writes.
        offered = every_recipe(self.settings)
        usable = [own for name, own in offered.items() if name in inputs.space.every_recipe]
        self.offered = usable or list(offered.values())
        self.full = max(self.offered, key=self._seconds)
        layered = [own for own in self.offered if own.students != STATIC] or self.offered
        self.layered = max(layered, key=self._seconds)
        self.widths = len({a.hidden_size for a in inputs.space.architectures})

    def teacher(self) -> Parts:
        """Fine-tuning the teacher."""
        steps = teacher_schedule(self.settings).steps(self.data.train.sizes)
        return {TEACHER_TUNING: steps * self.speeds.teacher_step / self.shared}

    def teacher_scores(self) -> Parts:
        """The teacher's answers to the rows that are reported."""
        return {SCORES: sum(map(self._predicting, self.data.evaluation.values()))}

    def signal(self) -> Parts:
        """The teacher's outputs for the proxy."""
        if self.settings.teacher_predictions is not None:  # they are in the file
            return {SIGNAL: 0.0}
        tokens = self.data.distillation.take(self.data.proxy).sizes.sum()
        return {SIGNAL: STORING * int(tokens) * self.speeds.token}

    def trial(self) -> float:
        """Seconds that a trial adds to a search; too many where several are scored side by side
        and none is on record."""
        own = self.one_trial()
        return own if self.speeds.trial is None else own / self.jobs

    def one_trial(self) -> float:
        """Seconds that a trial takes one worker: as on record; else by its latency and mini-KD."""
        if self.speeds.trial is not None:
            return self.speeds.trial
        settings, data = self.settings, self.data
        proxy = data.distillation.take(data.proxy)
        training, heldout = split_heldout(proxy, settings.heldout_fraction, settings.seed)
        schedule = schedule_of(settings.mini_stage, settings)
        steps = schedule.steps(proxy.sizes[training])
        steps = min(steps, settings.mini_steps or steps)
        seconds = min(
            DISTILLING * steps * self.speeds.student_step, settings.mini_seconds or float("inf")
        )
        scoring = int(proxy.sizes[heldout].sum()) * self.speeds.token * self.speeds.share
        return START_SECONDS + self._timed(often=UNTIL_KNOWN) + seconds + scoring

    def warm_start(self, trials: float) -> float:
        """Seconds of finding out what so many trials begin with; 0 where they begin by chance."""
        if not self.settings.warm_start:
            return 0.0
        return self._picks() + self._screening(trials)

    def _picks(self) -> float:
        """Timing what a person would pick within limits: each time one of each depth."""
        if not Limits.of(self.settings):
            return 0.0
        rounds = math.ceil(math.log2(self.widths + 1))
        return rounds * self._timed(often=UNTIL_KNOWN, students=len(DEPTHS))

    def _screening(self, trials: float) -> float:
        """Scoring candidates untrained."""
        data, count = self.data, count_screened(self.settings.screen, math.ceil(trials))
        proxy = data.distillation.take(data.proxy)
        scored = int(proxy.sizes.sum()) * self.speeds.token * self.speeds.share
        return count * (START_SECONDS + self._timed(often=UNTIL_KNOWN) + scored)

    def recipe(self, *, signal: bool, share: float | None = None, layered: bool = False) -> Parts:
        """A student by the whole recipe; `signal` asks for the teacher's outputs for its rows.

        Its share of the teacher's arithmetic says how long it trains and how long a step takes;
        default: the usual one's. One that is sure to have layers is `layered`.
        """
        return self._parts(self.layered if layered else self.full, signal=signal, share=share)

    def _seconds(self, recipe: Settings) -> float:
        """A whole recipe for one student."""
        return sum(self._parts(recipe, signal=True).values())

    def _parts(self, full: Settings, *, signal: bool, share: float | None = None) -> Parts:
        parts: Parts = {}
        read = {
            (stage.data, stage.is_general): self._rows(stage, full) for stage in full.full_stages
        }
        recorded = self.settings.teacher_predictions is not None
        asked = (each for (_, general), each in read.items() if general or not recorded)
        tokens = sum(int(lengths.sum()) for lengths in asked)
        if signal and any(map(reads_own_outputs, full.full_stages)):
            parts |= self._folds()
        if signal:
            parts[SIGNAL] = STORING * tokens * self.speeds.token
        if signal and reads_pseudo_labels(full):
            whole = self._predicting(for_students(self.data, self.settings).train)
            parts[PSEUDO_LABELS] = self.unwritten * self.speeds.beams * whole
        asked_to = signal and reads_transfer(full) and not self.has_transfer
        if asked_to and self.speeds.row is not None:
            new = max(0, full.transfer_rows - len(self.lengths))
            parts[TRANSFER] = self.speeds.beams * self.speeds.row * new
        for stage in full.full_stages:
            times = FROZEN if stage.freeze_student else DISTILLING
            longest, rows = self._longer(stage, full, share), self._rows(stage, full)
            parts[stage.name] = times * self._training(longest, rows, full, share)
        return parts

    def _folds(self) -> Parts:
        """Fine-tuning teachers, each on all parts of the rows but one; the first are done first."""
        schedule, step = teacher_schedule(self.settings), self.speeds.student_step
        folds = self.settings.teacher_folds
        steps = schedule.steps(self.lengths) * (1 - 1 / folds) / self.shared
        each = steps * step / of_a_step(self.speeds.share)
        return {title_of(fold): each for fold in range(folds - self.folds, folds)}

    def sandwich(self, *, signal: bool) -> Parts:
        """Students of several sparsities in one network: each takes what its teacher does.

        A step trains some of them.
        """
        own = self.recipe(signal=False, share=1.0)
        parts = {name: A_STEP * each for name, each in own.items()}
        return {**self.recipe(signal=signal), **parts}

    @property
    def prunings(self) -> tuple[Pruning, ...]:
        """Those that are measured before anything is trained; not those of trained students."""
        return tuple(one for one in self.space.prunings if not one.after)

    def importance(self) -> Parts:
        """What of a teacher goes first."""
        step = self.speeds.student_step / of_a_step(self.speeds.share)
        method = PRUNING_METHODS[self.space.prunings[0].method]
        return {"importance": method.seconds(self.space.teacher, step)}

    def latency_table(self) -> Parts:
        """The teacher with fewer and fewer heads and neurons, beside the whole one."""
        cells = count_cells(self.space.teacher)
        return {LATENCY_TABLE: cells * self._timed(TABLE_REPEATS)}

    def labels_alone(self, share: float | None = None) -> Parts:
        """The control without a teacher; `share` as for `recipe`."""
        each = [self._labels_of(recipe, share) for recipe in self.offered]
        return max(each, key=lambda parts: sum(parts.values()))

    def _labels_of(self, recipe: Settings, share: float | None) -> Parts:
        stages = [self._longer(stage, recipe, share) for stage in recipe.full_stages]
        stage = stage_on_labels(recipe, stages)
        return {stage.name: self._training(stage, self.lengths, recipe, share)}

    def report(self, students: int) -> float:
        """Seconds of what `report_parts` names."""
        return sum(self.report_parts(students).values())

    def report_parts(self, students: int) -> Parts:
        """Scores of some students, latencies and pages of them and their teacher.

        Without a student that is to be measured, pages alone. Of the trainings of one student
        with several seeds, one is timed.
        """
        if not students:
            return {PAGES: PAGE_SECONDS}
        scored = sum(self.teacher_scores().values())
        chosen = self._predicting(selection_rows(self.data, self.settings))
        shapes = students / self.settings.final_seeds
        return {
            SCORING: students * self.speeds.share * (scored + chosen),
            TIMING: self._timed() * (FINAL * shapes + self.widths) + self._grid(),
            PAGES: (1 + students) * INTERVAL_SECONDS + PAGE_SECONDS,
        }

    def _predicting(self, rows: EncodedExamples) -> float:
        """What the teacher takes to answer some rows."""
        if self.speeds.row is not None:
            return self.speeds.row * len(rows)
        return self.speeds.token * int(rows.sizes.sum())

    def _rows(self, stage: Stage, recipe: Settings) -> Indices:
        """The lengths of a stage's rows; those of a transfer set as the task's own."""
        if stage.data == "corpus" and self.data.corpus is not None:
            return self.data.corpus.sizes
        if stage.data == "transfer" and self.settings.teacher_predictions is not None:
            further = self.data.further
            return self.lengths if further is None else np.append(self.lengths, further.sizes)
        if stage.data == "transfer":
            return np.resize(self.lengths, recipe.transfer_rows)
        return self.lengths

    def _longer(self, stage: Stage, recipe: Settings, share: float | None = None) -> Stage:
        """A stage with the epochs of the usual student, or of one with another share."""
        writes = self.space.teacher.num_decoder_layers > 0
        return longer(stage, 1.0 if writes else share or self.share, recipe)

    def _training(
        self, stage: Stage, lengths: Indices, recipe: Settings, share: float | None
    ) -> float:
        steps = schedule_of(stage, recipe).steps(lengths)
        if recipe.students == STATIC and self.speeds.static_step is not None:
            return steps * self.speeds.static_step / self.shared
        usual = self.speeds.arithmetic or self.speeds.share
        times = 1.0 if share is None else of_a_step(share) / of_a_step(usual)
        return times * steps * self.speeds.student_step / self.shared

    def _timed(self, repeats: int | None = None, often: float = AGAIN, students: int = 1) -> float:
        """Timing students beside their teacher, so often on the mean."""
        repeats = repeats_for(
            repeats or self.settings.latency_repeats, writes=self.speeds.row is not None
        )
        return often * repeats * self.speeds.latency * (1 + students * self.speeds.share)

    def _grid(self) -> float:
        """The table of latencies by batch size and length, but for the cell of all timings."""
        speeds, settings, writes = self.speeds, self.settings, self.speeds.row is not None
        own = (settings.latency_batch, settings.latency_length)
        new = NEW_TOKENS if writes else 0

        def tokens(batch: int, length: int) -> float:
            return batch * (length + new) * speeds.token

        fixed = max(0.0, speeds.latency - tokens(*own))
        passes = CellPasses.of(settings.latency_repeats, writes=writes)
        cells = [cell for cell in cells_for(self.data.length, *own) if cell != own]
        return sum(passes.seconds((1 + speeds.share) * (fixed + tokens(*cell))) for cell in cells)


def of_a_step(share: float) -> float:
    """Seconds of a step of training, by the share of the teacher's arithmetic; the teacher's: 1."""
    return OF_ANY_STEP + (1 - OF_ANY_STEP) * share


def share_asked(pruning: Pruning) -> float | None:
    """What a pruned student will have of its teacher's arithmetic; None where nothing is asked."""
    if pruning.speedup:
        return min(1.0, OF_A_SPEED / pruning.speedup)
    return 1 - pruning.sparsity if pruning else None


def of_a_speed(share: float, settings: Settings) -> float:
    """The share of the teacher's arithmetic of what ships, from that of the usual student."""
    return share * (OF_A_SPEED if settings.speedup else 1.0)


def share_planned(space: SearchSpace, settings: Settings, teacher_params: int) -> float:
    """The share of the teacher's arithmetic that a plan takes what ships to have."""
    usual = usual_shape(space, Limits.of(settings), teacher_params)
    return of_a_speed(arithmetic(usual) / arithmetic(space.teacher), settings)
