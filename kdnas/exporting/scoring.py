"""What models in PyTorch and ONNX Runtime score on a run's task."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.scores import evaluate_model
from kdnas.exporting.agreement import check_texts
from kdnas.measure.latency import generates
from kdnas.measure.onnx import InOnnx
from kdnas.measure.onnx_sessions import Writer
from kdnas.recipes.run_data import encode_evaluation, encode_options, input_length
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.tasks import DEFAULT_TASK, EncodedExamples, TaskSpec, load_data, load_spec
from kdnas.tasks.encode import padding_id
from kdnas.tasks.sampling import stratified_sample
from kdnas.tasks.sequences.generate import writing_by
from kdnas.tasks.sequences.greedy import GreedyRules, greedy_config, greedy_rules
from kdnas.tasks.types import threshold_of

# Rows of a split that are scored where texts are written: five models write each.
MOST_WRITTEN = 1000

Scores = dict[str, float]


@dataclass(frozen=True)
class Scoring:
    """A run's task, and its evaluation splits in the tokens of one model, scored in fp32.

    Without data there is no task, and no score.
    """

    spec: TaskSpec | None
    splits: dict[str, EncodedExamples]
    runtime: Runtime
    settings: Settings
    pad_id: int
    threshold: float | None

    @classmethod
    def of(cls, settings: Settings, tokenizer: Any, config: Any) -> Scoring:
        """Reads the data; says so where they cannot be read."""
        spec, splits = _evaluation(settings, tokenizer, config)
        runtime = start_runtime(device="cpu", precision="fp32", threads=settings.threads)
        pad_id, own = padding_id(config, tokenizer), threshold_of(config)
        return cls(spec, splits, runtime, settings, pad_id, own)

    def score(self, model: PreTrainedModel | InOnnx) -> Scores:
        """Its metrics; of one that writes, those of texts written greedily."""
        if self.spec is None:
            return {}
        in_torch = isinstance(model, PreTrainedModel)
        greedily: Any = nullcontext()
        if in_torch and (rules := writing_rules(model, self.settings)[0]):
            greedily = writing_by(model, greedy_config(rules))
        given = self.splits, self.spec, self.runtime, self.pad_id
        with greedily:
            return evaluate_model(model, *given, threshold=self.threshold)

    def change(self, before: Scores, after: Scores, max_drop: float) -> Scores:
        """What int8 changes.

        Raises:
            KdnasError: The main score falls by more than a share `max_drop` of its range.
        """
        name = self.spec.main_score if self.spec else None
        if self.spec and name:
            most = max_drop * self.spec.metric(self.spec.metrics[0]).best
            if after[name] < before[name] - most:
                raise KdnasError(
                    f"int8 lowers {name} from {before[name]:.4f} to {after[name]:.4f}, more than "
                    f"--max-drop {max_drop:g}; nothing was exported (--format onnx keeps the score)"
                )
        return {name: after[name] - before[name] for name in before}

    def compare_texts(self, model: PreTrainedModel, writer: Writer) -> int | None:
        """See `check_texts`, of the split that has the main score; None without data."""
        data = next(iter(self.splits.values()), None)
        if data is None:
            return None
        return check_texts(model, writer, data, self.runtime, self.pad_id)


def writing_rules(
    model: PreTrainedModel, settings: Settings
) -> tuple[GreedyRules | None, list[str]]:
    """How a model writes in ONNX Runtime, None for one that does not; and what that leaves out.

    Raises:
        KdnasError: Its generation config does not say what the decoder reads first.
    """
    return greedy_rules(model, settings.max_target_length) if generates(model) else (None, [])


def _evaluation(
    settings: Settings, tokenizer: Any, config: Any
) -> tuple[TaskSpec | None, dict[str, EncodedExamples]]:
    """The run's task and its evaluation splits; None, with a notice, where they cannot be read."""
    try:
        spec = load_spec(settings.task or DEFAULT_TASK, settings.tasks)
        task = load_data(
            spec,
            settings.data_dir,
            splits=spec.evaluation,
            optional=(),
            skip_malformed=settings.skip_malformed,
            most_scored=settings.max_eval_rows,
        )
        length = input_length(settings, tokenizer, config)
        options = encode_options(settings, task.spec.task_type, config)
        splits = encode_evaluation(task, tokenizer, length, options)
    except KdnasError as error:
        say(f"no scores: {error}")
        return None, {}
    return task.spec, {name: _some(data, task.spec) for name, data in splits.items()}


def _some(data: EncodedExamples, spec: TaskSpec) -> EncodedExamples:
    """The examples that are scored."""
    if not spec.task_type.generates or len(data) <= MOST_WRITTEN:
        return data
    say(f"scores are of {MOST_WRITTEN:,} of {len(data):,} evaluation rows")
    return data.take(stratified_sample(data, MOST_WRITTEN, 0))
