"""What of a kind of task leaves kdnas: predictions files, exports, the code beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from kdnas.tasks import snippets
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.types.aspects.facts import Facts
from kdnas.tasks.types.metric import Array
from kdnas.tasks.types.values import Submission

if TYPE_CHECKING:
    from torch import Tensor


class Shipping(Facts):
    """Files for benchmarks and for programs without kdnas."""

    # Outputs of an ONNX file, each with the names of its free axes.
    onnx_outputs: ClassVar[Mapping[str, Mapping[int, str]]] = {"logits": {0: "batch"}}
    # Of the code in an export's README: packages, how tokenizer and files are opened, its example,
    # how that becomes rows of tokens, and those outputs.
    onnx_packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "tokenizers", "numpy")
    onnx_load: ClassVar[str] = snippets.ONNX_LOAD
    onnx_texts: ClassVar[str] = '["a text"]'
    onnx_rows: ClassVar[str] = snippets.ONNX_ROWS
    onnx_run: ClassVar[str] = snippets.ONNX_RUN

    def submission(self, logits: Array, labels: Sequence[str], form: Submission) -> list[str]:
        """Each unit's prediction as a benchmark's predictions file writes it."""
        raise NotImplementedError

    def row_submission(
        self,
        logits: Array,
        labels: Sequence[str],
        form: Submission,
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[str]:
        """Each row's prediction as a predictions file writes it; by default a row is a unit."""
        return self.submission(logits, labels, form)

    def predictions_text(self, words: Sequence[str], data: EncodedExamples | None) -> str:
        """The text of a predictions file from the words of `row_submission`.

        By default it is tab-separated, in the form that GLUE's server takes: `index`, the row's
        place from 0 on, and `prediction`.
        """
        return "\n".join(["index\tprediction", *(f"{i}\t{w}" for i, w in enumerate(words))]) + "\n"

    def raw_outputs(self, model: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """What a model gives for a batch, to see that it works."""
        output = model(**inputs)
        return [getattr(output, name) for name in self.onnx_outputs]

    def onnx_reading(self, *, fast: bool) -> snippets.Reading:
        """How the code of an export's README reads texts; `fast`: from a tokenizer.json."""
        own = (self.onnx_packages, self.onnx_load, self.onnx_rows, snippets.ONNX_ARRAY)
        return snippets.Reading(*own) if fast else snippets.SLOW

    def onnx_truncation(self, longest: int, side: str = "right", **options: Any) -> str:
        """What `enable_truncation` of the package tokenizers takes beside the longest input.

        `side` is where texts are cut, `options` are those of `encode_settings` that the run's rows
        were encoded by.
        """
        return "" if side == "right" else f', direction="{side}"'

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        """Python lines for an export's README that print the answers in what `onnx_run` made."""
        raise NotImplementedError

    def export_facts(self, labels: Sequence[str]) -> dict[str, Any]:
        """What export.json says beside the labels' names, for programs without kdnas."""
        return {}

    def torch_answer(self, threshold: float | None = None) -> str:
        """Python lines for a model card that print the answers of `model` and `tokenizer`."""
        return ""
