"""One checkpoint on one task: its data, encoded, and whether it must be fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.find_tasks import tasks_to_predict
from kdnas.recipes.run_data import encode_evaluation, input_length
from kdnas.tasks import EncodedExamples, Examples, TaskData, TaskSpec, encode, load_data
from kdnas.tasks.encode import padding_id
from kdnas.tasks.sampling import stratified_sample
from kdnas.tasks.submission import check_complete
from kdnas.teachers.inputs import check_inputs
from kdnas.teachers.load import has_head, head_of_another_task, load_config, load_tokenizer


@dataclass(frozen=True)
class Subject:
    """A checkpoint and a task.

    Attributes:
        model: Hub id or folder.
        settings: Data, length, device.
        spec: The task, its labels known.
        evaluation: The examples that are scored, by split.
        tokenizer: The checkpoint's.
        length: Tokens at which inputs are cut.
        tuned: Whether it has to be fine-tuned.
        stands_in: Whether a tenth of the training data stands in for a validation split.
    """

    model: str
    settings: Settings
    spec: TaskSpec
    evaluation: dict[str, EncodedExamples]
    tokenizer: Any
    length: int
    tuned: bool
    stands_in: bool

    @property
    def pad_id(self) -> int:
        """Token that fills short rows."""
        return padding_id(load_config(self.model), self.tokenizer)

    @classmethod
    def of(cls, model: str, spec: TaskSpec, settings: Settings, tuned: bool | None) -> Subject:
        """Reads what is scored.

        Args:
            model: Hub id or folder.
            spec: The task.
            settings: Data, length, device.
            tuned: Whether to fine-tune it; None: if it has no head for the task.

        Raises:
            KdnasError: The checkpoint or the data cannot be used, or it is to be scored as it is
                and has no head for the task.
        """
        config, tokenizer = load_config(model), load_tokenizer(model)
        task = load_data(spec, settings.data_dir, splits=(), optional=spec.evaluation)
        if not task.splits:
            raise KdnasError(
                f"task {spec.name!r} has no {' or '.join(spec.evaluation)} split to score"
            )
        headed = has_head(config, task.spec)
        if tuned is False and not headed:
            kind = f", {config.problem_type}" if config.problem_type else ""
            raise KdnasError(
                f"{model!r} has no head with {task.spec.num_labels} output(s) for task "
                f"{spec.name!r} (it has {config.num_labels}{kind}); leave out --no-fine-tune"
            )
        outputs = head_of_another_task(config, task.spec) if headed else None
        if tuned is None and outputs:
            raise KdnasError(
                f"the outputs of {model!r} are called {outputs}, the classes of task {spec.name!r} "
                f"{', '.join(task.spec.labels or ())}; say --fine-tune to train it for the task, "
                "or --no-fine-tune to take them one for one"
            )
        length = input_length(settings, tokenizer, config)
        evaluation = encode_evaluation(task, tokenizer, length)
        for data in evaluation.values():
            check_inputs(data, tokenizer, config)
        return cls(
            model,
            settings,
            task.spec,
            evaluation,
            tokenizer,
            length,
            not headed if tuned is None else tuned,
            task.held_out is not None,
        )

    def train(self) -> EncodedExamples:
        """The training examples, or the part of them that was asked for.

        Raises:
            KdnasError: There are none.
        """
        settings = self.settings
        optional = self.spec.evaluation if self.stands_in else ()
        task = load_data(self.spec, settings.data_dir, splits=("train",), optional=optional)
        train, rows = task.splits["train"], settings.max_train_rows
        if rows and rows < len(train):
            train = train.take(stratified_sample(train, rows, settings.seed))
        return self._encoded(train)

    def tests(self) -> list[tuple[TaskSpec, str, EncodedExamples]]:
        """The test splits that want predictions.

        Raises:
            KdnasError: A row of one cannot be read.
        """
        found = []
        for spec, splits in tasks_to_predict(self.spec, self.settings):
            known = self.spec if spec.name == self.spec.name else spec
            data = self._read(known, splits)
            for split in splits:
                examples = data.splits[split]
                check_complete(known, split, examples)
                found.append((known, split, self._encoded(examples)))
        return found

    def _encoded(self, examples: Examples) -> EncodedExamples:
        data = encode(examples, self.tokenizer, self.length)
        return check_inputs(data, self.tokenizer, load_config(self.model))

    def _read(self, spec: TaskSpec, splits: list[str]) -> TaskData:
        return load_data(spec, self.settings.data_dir, splits=splits, optional=())
