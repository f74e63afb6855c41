"""Scores a checkpoint that anybody trained."""

from __future__ import annotations

from kdnas.config import Settings
from kdnas.data import encode_evaluation, input_length
from kdnas.errors import KdnasError
from kdnas.run import resolve
from kdnas.runtime import start_runtime
from kdnas.tasks import load_data, load_spec
from kdnas.tasks.evaluate import evaluate_model
from kdnas.teacher.load import load_config, load_teacher, load_tokenizer


def evaluate_checkpoint(model: str, settings: Settings) -> dict[str, float]:
    """A checkpoint's scores on `settings.task` by the task's metrics.

    Raises:
        KdnasError: The checkpoint or the data cannot be used, or it has no head for the task.
    """
    settings = resolve(settings)
    if settings.task is None:
        raise KdnasError("--task is missing; name a task or a YAML file that defines one")
    runtime = start_runtime(settings)
    config, tokenizer = load_config(model), load_tokenizer(model)
    spec = load_spec(settings.task, settings.tasks)
    task = load_data(spec, settings.data_dir, splits=(), optional=spec.evaluation)
    if not task.splits:
        raise KdnasError(f"task {spec.name!r} has no {' or '.join(spec.evaluation)} split to score")
    loaded = load_teacher(model, task.spec)
    if not loaded.has_head:
        raise KdnasError(
            f"{model!r} has no head with {task.spec.num_labels} output(s) for task "
            f"{task.spec.name!r} (it has {config.num_labels}); fine-tune it first"
        )
    length = input_length(settings, tokenizer, config)
    splits = encode_evaluation(task, tokenizer, length)
    return evaluate_model(loaded.model, splits, task.spec, runtime, loaded.pad_id)
