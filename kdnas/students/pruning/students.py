"""The pruned students of a run: what goes first is measured once a method, for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from kdnas.distillation.batches import Batch
from kdnas.errors import KdnasError, MissedLimitError
from kdnas.files.artifact import Artifact, json_artifact, key_of
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.space import AnyArchitecture, Architecture, Candidate, PrunedArchitecture, Pruning
from kdnas.students.pruning.depth import shallower
from kdnas.students.pruning.kept import shape_of
from kdnas.students.pruning.methods import PRUNING_METHODS
from kdnas.students.pruning.order import PruningOrder
from kdnas.students.pruning.slicing import dense
from kdnas.students.pruning.speed import LatencyTable, counts_at_speedup, fewest_counts

# A speed-up that is asked for is exceeded by this factor when students are timed before training:
# timed again, they shall still reach it.
MARGIN = 1.03
# How many students are timed to come so near above that: one that is faster loses more than it
# has to. The least and the most by which the next one differs.
ROUNDS, NEAR, LEAST_MORE, MOST_MORE = 12, 1.05, 1.01, 1.5
# After so many that are all too slow, the smallest is next: it tells whether any is fast enough.
SLOW_ROUNDS = 4


def order_file(pruning: Pruning) -> str:
    """The file of what goes first, of the teacher or of the student that is pruned further."""
    of = f"-of-{pruning.layers}" if pruning.layers else ""
    after = f"-after-{pruning.before.target}" if pruning.after else ""
    return f"{pruning.method}{of}{after}.safetensors"


@dataclass
class PrunedStudents:
    """Makes the pruned students of one teacher.

    Attributes:
        teacher: In evaluation mode, on the runtime's device.
        rows: Gives batches of training rows, on that device.
        runtime: Computes.
        folder: Keeps what was found out: one order a method and depth, one shape a student.
        key: Plain values that decide teacher and rows.
        table: Gives the teacher's latency table.
        speedup: Times a shape beside the teacher.
        trained: Gives a trained student that another one is pruned from.
        content: Plain values that tell that student from itself as trained otherwise.
        seed: Of the method that orders at random.
        at_best: Whether the fastest of a pruning will do where none reaches its speed-up; else it
            is refused.
    """

    teacher: PreTrainedModel
    rows: Callable[[], Iterable[Batch]]
    runtime: Runtime
    folder: Path
    key: Mapping[str, Any]
    table: Callable[[], LatencyTable]
    speedup: Callable[[PrunedArchitecture], float]
    trained: Callable[[Pruning], PreTrainedModel]
    content: Callable[[Pruning], Any]
    seed: int = 0
    at_best: Callable[[Pruning], bool] = lambda _: False
    _orders: dict[Pruning, PruningOrder] = field(default_factory=dict)

    def order(self, pruning: Pruning) -> PruningOrder:
        """What goes first: of the teacher, or of the trained student that is pruned further."""
        which = replace(pruning, sparsity=0.0, speedup=0.0)  # the same however far
        if which not in self._orders:
            model, method = self._whole(pruning), PRUNING_METHODS[pruning.method]
            self._orders[which] = self._order_artifact(pruning, model).get(
                lambda: method(model, self.rows(), self.runtime, self.seed)
            )
        return self._orders[which]

    def _whole(self, pruning: Pruning) -> PreTrainedModel:
        """What is pruned: the teacher, some of its layers, or a trained student."""
        if not pruning.after:
            return shallower(self.teacher, pruning.layers) if pruning.layers else self.teacher
        model = dense(self.trained(pruning.before)).eval()
        return model.to(self.runtime.device)  # type: ignore[arg-type]

    def is_outdated(self, pruning: Pruning) -> bool:
        """Whether what a student keeps was found out of another one than it is pruned from now."""
        of = (key_of(self._shape_file(pruning)) or {}).get("student")
        return of is not None and of != self.content(pruning.before)

    def counts(self, pruning: Pruning) -> PrunedArchitecture:
        """How many heads and neurons each layer keeps; that of a speed-up reaches it as timed.

        Raises:
            MissedLimitError: No pruning reaches the speed-up, and the fastest will not do.
        """
        key = self._key(pruning, pruning.params)
        kept: Artifact[Any] = json_artifact(self._shape_file(pruning), key)
        return PrunedArchitecture.from_params(kept.get(lambda: self._choose(pruning).params))

    def _shape_file(self, pruning: Pruning) -> Path:
        return self.folder / f"shape-{pruning.label.replace(' ', '-')}.json"

    def shape(self, candidate: Candidate) -> AnyArchitecture:
        """The architecture of a candidate, pruned or not."""
        return self.counts(candidate.pruning) if candidate.pruning else candidate.architecture

    def student(self, pruning: Pruning) -> PreTrainedModel:
        """A student that is pruned and not trained yet, in its sliced form, on the CPU."""
        student = self.order(pruning).student(self.counts(pruning))
        return student.to("cpu").eval()  # type: ignore[arg-type]

    def _key(self, pruning: Pruning, also: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the teacher or the student that is pruned further, and the rows; and more.

        That student is another one once it is trained by another recipe.
        """
        student = {"student": self.content(pruning.before)} if pruning.after else {}
        return {**self.key, **student, **also}

    def _order_artifact(self, pruning: Pruning, model: PreTrainedModel) -> Artifact[PruningOrder]:
        which = {"method": pruning.method, "after": pruning.before.params, "seed": self.seed}
        layers = {"layers": pruning.layers} if pruning.layers else {}
        return Artifact(
            self.folder / order_file(pruning),
            self._key(pruning, which | layers),
            load=lambda file: PRUNING_METHODS[pruning.method].load(file, model),
            save=lambda order, file: order.save(file),
            is_folder=False,
        )

    def _choose(self, pruning: Pruning) -> PrunedArchitecture:
        if not pruning.speedup:
            return self.order(pruning).at_sparsity(pruning.sparsity)
        asked, tried = pruning.speedup, _Tried(MARGIN * pruning.speedup)
        fewest = self._fewest(pruning)
        for done in range(1, ROUNDS + 1):
            counts = self._by_table(pruning, asked)
            if counts not in tried.speedups:
                tried.speedups[counts] = self._timed(pruning, counts, tried.least)
            tried.asked[asked] = counts
            while tried.is_near:
                if self._again(pruning, tried.best, tried):
                    return tried.best
            found = tried.speedups[counts]
            if counts == fewest and found < tried.least:
                break
            slow, fast = tried.bracket
            hopeless = done >= SLOW_ROUNDS and fast == math.inf
            if hopeless:
                asked = LEAST_MORE * self.table().speedup(fewest)
            else:
                asked = _next(max(asked, slow), tried.least / found, slow, fast)
        for counts in tried.enough:
            if self._again(pruning, counts, tried):
                return counts
        return self._at_most(pruning, fewest, tried)

    def _again(self, pruning: Pruning, counts: PrunedArchitecture, tried: _Tried) -> bool:
        """Whether a student that was fast enough is so again; a third timing decides."""
        found = self.speedup(counts)
        if found < pruning.speedup:
            found = max(found, self.speedup(counts))
        if found >= pruning.speedup:
            return True
        say(f"{pruning.label}: {counts.label} is {found:.2f} times as fast when timed again")
        tried.speedups[counts] = found
        return False

    def _at_most(
        self, pruning: Pruning, fewest: PrunedArchitecture, tried: _Tried
    ) -> PrunedArchitecture:
        """The fastest student tried, where none is fast enough with a margin, or the smallest.

        Raises:
            MissedLimitError: Not even the smallest reaches the speed-up, and it will not do.
        """
        if max(tried.speedups.values()) < pruning.speedup:
            # Smaller than all, but seen as slower than some: other work may have slowed it down.
            found = max(tried.speedups.get(fewest, 0.0), self.speedup(fewest))
            tried.speedups[fewest] = found
        counts, found = max(tried.speedups.items(), key=lambda one: one[1])
        if found >= pruning.speedup:
            return counts
        if self.at_best(pruning):
            say(
                f"{pruning.label}: none is {pruning.speedup:g} times as fast; taken is "
                f"{counts.label}, {found:.2f} times"
            )
            return counts
        raise MissedLimitError(
            f"no pruning reaches {pruning.speedup:g} times the teacher's speed: the smallest "
            f"student ({fewest.label}), timed several times, is {tried.speedups[fewest]:.2f} times "
            "as fast at best; give a lower speed-up"
        )

    def _shape(self, pruning: Pruning) -> Architecture:
        """What is pruned, whole."""
        whole = shape_of(self.teacher.config)
        return replace(whole, num_hidden_layers=pruning.layers or whole.num_hidden_layers)

    def _fewest(self, pruning: Pruning) -> PrunedArchitecture:
        """The smallest student: one head and no neurons."""
        return fewest_counts(self.order(pruning).damage(), self._shape(pruning))

    def _by_table(self, pruning: Pruning, asked: float) -> PrunedArchitecture:
        """What loses the least at a speed-up that the latency table predicts."""
        damage = self.order(pruning).damage()
        try:
            return counts_at_speedup(damage, self.table(), asked, self._shape(pruning))
        except KdnasError:  # by the table; timed, the student with the fewest may still be so fast
            return self._fewest(pruning)

    def _timed(self, pruning: Pruning, counts: PrunedArchitecture, least: float) -> float:
        found = self.speedup(counts)
        if found < least:  # other work on the machine may have slowed it
            found = max(found, self.speedup(counts))
        say(f"{pruning.label}: {counts.label} is {found:.2f} times as fast")
        return found


@dataclass
class _Tried:
    """Students that were timed for a speed-up.

    Attributes:
        least: The speed-up that is enough.
        speedups: What each was found to have, the last word on it.
        asked: The student of each speed-up that the latency table was asked for.
    """

    least: float
    speedups: dict[PrunedArchitecture, float] = field(default_factory=dict)
    asked: dict[float, PrunedArchitecture] = field(default_factory=dict)

    @property
    def enough(self) -> list[PrunedArchitecture]:
        """Those that are fast enough, the slowest first."""
        found = (counts for counts, found in self.speedups.items() if found >= self.least)
        return sorted(found, key=self.speedups.__getitem__)

    @property
    def bracket(self) -> tuple[float, float]:
        """What was asked for: the most that gave a student too slow, and the least above that."""
        slow = [asked for asked, counts in self.asked.items() if counts not in self.enough]
        most = max(slow, default=0.0)
        return most, min((asked for asked in self.asked if asked > most), default=math.inf)

    @property
    def best(self) -> PrunedArchitecture:
        """The student at the upper end of the bracket."""
        return self.asked[self.bracket[1]]

    @property
    def is_near(self) -> bool:
        """Whether that student is hardly faster than it has to be, or hardly smaller than others.

        Nothing is asked for below 1.
        """
        slow, fast = self.bracket
        if fast not in self.asked:
            return False
        near = self.speedups[self.best] <= NEAR * self.least
        return near or fast < LEAST_MORE * max(slow, 1.0)


def _next(asked: float, factor: float, slow: float, fast: float) -> float:
    """What to ask of the table next: between too slow and fast enough, where both are known.

    At 1 nothing is pruned.
    """
    if slow and fast < math.inf:
        return math.sqrt(slow * fast)
    least = LEAST_MORE if factor > 1 else 1 / MOST_MORE
    return max(1.0, asked * min(MOST_MORE, max(least, factor)))
