"""What the order of sums does to a full distillation: gradients of a batch in parts, and losses.

    python benchmarks/rounding.py RUN [--reversed | --parts 2]
    accelerate launch --multi_gpu --num_processes 2 benchmarks/rounding.py RUN

Prints the losses of the first steps of RUN's first stage, distilling its trial 0; before that,
where one process does it, how far the first batch's gradients in two and four parts, and in reverse
order, are from those of the whole. With --parts, one process adds up the gradients of such parts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import tests_path  # noqa: F401
import torch
from support.stepwise import Stepwise

from kdnas.distillation import schedule
from kdnas.distillation import training as core
from kdnas.distillation.batches import collate, part_of
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.precision import working_precision
from kdnas.recipes.full import stage_data
from kdnas.recipes.stages import schedule_of, weighted_losses
from kdnas.runs.run_folder import Run
from kdnas.runtime.distributed import lead_or_follow
from kdnas.space import Architecture
from kdnas.students.state import StudentState
from kdnas.teachers.distillation_data import DistillationData
from kdnas.workflow.distil import after_mini_kd


def compare(
    pipeline: Stepwise, distilled: StudentState, objective: WeightedLosses, data: DistillationData
) -> None:
    """Prints relative distances of gradients, shape (all weights,), from the whole batch's."""
    student, pad = distilled.model.eval(), pipeline.teacher.pad_id
    weights = [*student.parameters(), *objective.parameters()]
    plan = schedule_of(pipeline.settings.recipe[0], pipeline.settings)
    indices = plan.plan(data.data.lengths, 0)[0]
    whole = collate(data.data, indices, pad)

    def gradients(parts: list[core.Batch]) -> torch.Tensor:
        for weight in weights:
            weight.grad = None
        with working_precision(student, pipeline.runtime, objective):
            for part in parts:
                shares = objective.shares(part, whole)
                objective(student, part, data.source, shares)["total"].backward()
        return torch.cat([w.grad.flatten() for w in weights if w.grad is not None]).double()

    exact = gradients([whole])
    found = {"reversed": [collate(data.data, indices[::-1].copy(), pad)]}
    for size in (2, 4):
        parts = [part_of(data.data, indices, pad, 1, rank, size) for rank in range(size)]
        found[f"{size} parts"] = parts
    for name, parts in found.items():
        print(f"{name}: {float((gradients(parts) - exact).norm() / exact.norm()):.1e}")
    for weight in weights:
        weight.grad = None


class InParts(core._Training):
    """One process that computes what several would, part after part."""

    size = 2

    def _summed(self, loss: torch.Tensor) -> torch.Tensor:
        for rank in range(1, self.size):
            part, shares = self._of(rank)
            more = self.objective(self.model, part, self.source, shares)["total"]
            more.backward()
            loss = loss + more.detach()
        self.weights.take_gradients()
        return loss

    def _part(self, indices: core.Indices) -> tuple[core.Batch, dict[str, float]]:
        object.__setattr__(self, "indices", indices)
        return self._of(0)

    def _of(self, rank: int) -> tuple[core.Batch, dict[str, float]]:
        given = self.data, self.indices, self.pad_id
        part = part_of(*given, 1, rank, self.size)
        return part, self.objective.shares(part, collate(*given))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=42)
    parser.add_argument("--reversed", action="store_true", help="Each batch in reverse order.")
    parser.add_argument("--parts", type=int, help="Each batch in so many parts; fp32 only.")
    given = parser.parse_args()
    if given.parts:
        InParts.size, core._Training = given.parts, InParts
    schedule.NOTE_EVERY = 2
    if given.reversed:
        usual = core.collate
        core.collate = lambda data, indices, *rest: usual(data, indices[::-1].copy(), *rest)
    pipeline = Stepwise(Run.open(given.run))
    settings, full, stage = pipeline.settings, pipeline.full, pipeline.settings.recipe[0]
    architecture = Architecture.from_params(pipeline.open_study().trials[0].params)
    distilled = after_mini_kd(pipeline.prepared, architecture, 0, "rounding")
    data = stage_data(full, stage, distilled)
    objective = weighted_losses(stage, distilled, data, settings, pipeline.runtime)
    if pipeline.runtime.team.size == 1:
        compare(pipeline, distilled, objective, data)
    plan = schedule_of(stage, settings)
    result = core.train(
        distilled.model,
        objective,
        data.data,
        data.source,
        plan,
        pipeline.runtime,
        pad_id=pipeline.teacher.pad_id,
        until=given.steps / plan.steps(data.data.lengths),
        team=pipeline.runtime.team,
    )
    for step, loss in result.curve:
        print(f"step {step}: {loss:.6f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(lead_or_follow(main) if "WORLD_SIZE" in os.environ else main())
