"""kdnas export, as a user has it: what comes out runs elsewhere, and bad input is refused."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import QUICK, small_config, small_tokenizer
from support.large_onnx import as_if_above_2_gb
from support.tiny_tokenizers import word_pieces
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from kdnas.cli.app import main
from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.answers import OUTPUTS_STEP
from kdnas.exporting.export import export
from kdnas.exporting.onnx import _teacher_entries
from kdnas.exporting.readme import table_lines
from kdnas.files.artifact import content_of
from kdnas.files.checkpoints import check_checkpoint
from kdnas.runs.run_folder import Run, dump
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.tasks import load_spec

TEXTS = [f"the {a} {n} {v} the {b} bank" for a in ("good", "bad", "dull") for b in ("slow", "quick")
         for n in ("cat", "film", "city") for v in ("likes", "sells", "finds")]  # fmt: skip
# Runs in a process where what an exported folder must not need cannot be imported.
ELSEWHERE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "kdnas", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""


def student_of(layers: int) -> PreTrainedModel:
    """A small classifier whose answers on TEXTS vary."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        small_config("bert", num_hidden_layers=layers, id2label={0: "negative", 1: "positive"})
    ).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(3)
        model.classifier.bias.copy_(-logits_of(model).median(0).values)
    return model


@torch.no_grad()
def logits_of(model: PreTrainedModel) -> torch.Tensor:
    tokenizer = small_tokenizer()
    rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(rows)


@pytest.fixture
def run(tmp_path: Path, teacher_folder: Path) -> Run:
    """A run whose student is always right: its data are labelled by it."""
    student = student_of(2)
    data = tmp_path / "glue" / "SST-2"
    data.mkdir(parents=True)
    labels = logits_of(student).argmax(1).tolist()
    assert 0.3 < sum(labels) / len(labels) < 0.7
    rows = ["sentence\tlabel", *(f"{t}\t{label}" for t, label in zip(TEXTS, labels, strict=True))]
    for name in ("train", "dev"):
        (data / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    folder = tmp_path / "run"
    student_artifact(folder / "student", {"trial": 3}, small_tokenizer()).write(student)
    settings = Settings(
        teacher=str(teacher_folder), task="sst2", data_dir=tmp_path / "glue", **QUICK
    )
    (folder / "config.yaml").write_text(dump(settings))
    return Run.open(folder)


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs kdnas with arguments that must be refused; returns the line it printed."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        error = capsys.readouterr().err
        assert caught.value.code == 2 and error.count("\n") == 1
        return error

    return call


def test_it_runs_without_torch(run: Run) -> None:
    found = export(run, ["onnx", "int8,torch"], max_drop=0.2)
    target = Path(found.pop("folder"))
    assert target == run.folder / "export"
    assert load_student(target).config.num_hidden_layers == 2
    summary = json.loads((target / "export.json").read_text())
    assert summary == found
    assert summary["formats"] == ["torch", "onnx", "int8"]
    assert summary["rows_scored"] == {"validation": len(TEXTS)}
    assert 0 < summary["largest_difference"] < 1e-4
    rows = {(row["model"], row["runtime"]): row for row in summary["models"]}
    assert rows["student", "PyTorch"]["scores"] == {"accuracy": 1.0}
    assert rows["student", "ONNX"]["scores"] == {"accuracy": 1.0}
    assert rows["student", "int8"]["scores"]["accuracy"] >= 0.8  # tiny ones suffer
    assert rows["student", "int8"]["bytes"] < rows["student", "ONNX"]["bytes"]
    assert {("teacher", "PyTorch"), ("teacher", "ONNX")} < rows.keys()
    assert all([at["length"] for at in row["latency"]] == [16, 64] for row in rows.values())
    change = rows["student", "int8"]["scores"]["accuracy"] - 1
    assert summary["int8_change"] == {"accuracy": pytest.approx(change, abs=1e-5)}
    lines, card = table_lines(summary), (target / "README.md").read_text()
    assert all(len(line) <= 80 for line in lines) and len(lines) == 8
    assert lines[-1] == f"int8 changes accuracy by {change:+.4f}" and f"{lines[-1]}." in card

    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[-1]
    moved = shutil.copytree(target, run.folder.parent / "elsewhere")
    for weights in moved.glob("*.safetensors"):
        weights.unlink()
    code = re.sub(r"texts = .*", f"texts = {TEXTS!r}", code)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE + code],
        cwd=moved,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = ("negative", "positive")
    expected = [names[i] for i in logits_of(load_student(target)).argmax(1)]
    assert done.stdout.strip() == repr(expected)


@pytest.mark.parametrize("formats", ["int8", "onnx,int8"])
def test_weights_beside_a_file_are_counted_and_removed_with_it(
    formats: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_if_above_2_gb(monkeypatch)
    found = export(run, formats, max_drop=1, timing=False)
    folder, sizes = Path(found["folder"]), {row["runtime"]: row["bytes"] for row in found["models"]}
    left = {f"onnx/{file.name}" for file in (folder / "onnx").iterdir()}
    for name in formats.split(","):
        files = {found["files"][name], found["files"][name] + ".data"}
        whole = sum((folder / file).stat().st_size for file in files)
        assert files <= left and whole == sizes[{"onnx": "ONNX"}.get(name, name)]
        left -= files
    assert not left


def test_a_score_that_int8_ruins_is_refused(run: Run, refused: Callable[..., str]) -> None:
    model = load_student(run.folder / "student")
    with torch.no_grad():  # one token that never occurs, so large that no other has a value left
        model.get_input_embeddings().weight[1] = 300
    student_artifact(run.folder / "student", {"trial": 3}, small_tokenizer()).write(model)
    line = refused("export", run.folder, "--format", "int8", "--max-drop", 0.2)
    assert re.search(r"int8 lowers accuracy from 1.0000 to 0\.\d+, more than --max-drop 0.2", line)
    assert not (run.folder / "export").exists()


def test_the_teachers_outputs_are_read_in_the_order_of_the_label_map(run: Run) -> None:
    swapped = student_of(2)
    swapped.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    with torch.no_grad():
        for part in swapped.classifier.parameters():
            part.copy_(part.flip(0))
    folder = run.folder.parent / "swapped"
    swapped.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    changes = {"teacher": str(folder), "label_map": "1,0", "teacher_as_is": True}
    changed = Run(run.folder, run.settings.model_copy(update=changes))
    rows = export(changed, ["onnx"])["models"]
    teachers = [row["scores"] for row in rows if row["model"] == "teacher"]
    assert teachers == [{"accuracy": 1.0}] * 2


def test_a_given_teacher_is_scored_in_the_unit_of_the_labels(run: Run) -> None:
    """A head that was trained on labels a hundredth as large, which the run took into it."""
    torch.manual_seed(0)
    given = AutoModelForSequenceClassification.from_config(small_config("bert", num_labels=1))
    folder = run.folder.parent / "given"
    given.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    labels = (100 * logits_of(given.eval())[:, 0] + 7).tolist()
    rows = [json.dumps({"text": t, "score": x}) for t, x in zip(TEXTS, labels, strict=True)]
    data = run.folder.parent / "data" / "t"
    data.mkdir(parents=True)
    for split in ("train", "validation"):
        (data / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    entry = {"type": "regression", "text": "text", "label": "score"}
    changes = {"teacher": str(folder), "task": "t", "tasks": {"t": entry}, "data_dir": data.parent}
    settings = Settings.model_validate(run.settings.model_dump() | changes)
    changed, spec = Run(run.folder, settings), load_spec("t", settings.tasks)
    before = [one.scores["mae"] for one in _teacher_entries(changed, spec)]
    assert min(before) > 5
    changed.step(OUTPUTS_STEP, {"teacher": str(folder)}).get(lambda: {"unit": [7, 100]})
    after = [one.scores["mae"] for one in _teacher_entries(changed, spec)]
    assert max(after) < 1e-3


def test_the_teacher_has_its_own_inputs(run: Run) -> None:
    """Those of a student without layers lack the kinds of tokens of a pair."""
    folder = run.folder.parent / "kinds"
    student_of(2).save_pretrained(folder)
    word_pieces(200).save_pretrained(folder)
    changes = {"teacher": str(folder), "teacher_as_is": True}
    changed = Run(run.folder, run.settings.model_copy(update=changes))
    found = export(changed, "onnx", timing=False)
    assert found["inputs"] == ["input_ids", "attention_mask"]
    in_onnx = _teacher_entries(changed, load_spec("sst2"))[1]
    assert in_onnx.model.names == ("input_ids", "attention_mask", "token_type_ids")  # type: ignore[union-attr]


def test_without_data_or_teacher_it_goes_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run.settings.data_dir / "SST-2")
    gone = {"teacher": str(run.folder / "gone")}
    run = Run(run.folder, run.settings.model_copy(update=gone))
    student = run.folder / "students" / "trial-5" / "student"
    shutil.copytree(run.folder / "student", student)
    summary = export(run, "int8", trial=5)
    target = Path(summary["folder"])
    assert target == student.parent / "export"
    said = capsys.readouterr().out
    assert "no scores: " in said and "no teacher beside it: " in said
    assert [path.name for path in (target / "onnx").iterdir()] == ["model_int8.onnx"]
    assert not list(target.glob("*.safetensors")) and (target / "tokenizer.json").exists()
    card = (target / "README.md").read_text()
    assert "no PyTorch weights: onnx/model_int8.onnx" in card and "from_pretrained" not in card
    with pytest.raises(KdnasError, match="holds ONNX files alone; its README.md says"):
        check_checkpoint(str(target))
    assert len(table_lines(summary)) == 5, "an unknown score has no line"


def test_json_holds_what_was_measured(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for formats, keys in (("torch", {"folder"}), ("onnx", {"folder", "models", "formats"})):
        place = run.folder.parent / formats
        arguments = ["export", run.folder, "--format", formats, "--out", place]
        monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments), "--no-timing", "--json"])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = json.loads(capsys.readouterr().out)
        assert caught.value.code == 0 and keys <= set(printed)
        assert printed.pop("folder") == str(place)
    assert printed == json.loads((place / "export.json").read_text())


def test_without_timing(run: Run) -> None:
    summary = export(run.folder, ("onnx",), timing=False)
    lines, target = table_lines(summary), Path(summary["folder"])
    models = json.loads((target / "export.json").read_text())["models"]
    assert [(row["model"], row["runtime"]) for row in models] == [
        ("student", "PyTorch"),
        ("student", "ONNX"),
    ]
    assert all(row["latency"] == [] and row["scores"]["accuracy"] == 1 for row in models)
    card = (target / "README.md").read_text()
    assert "|  | MB | accuracy |\n|---|---|---|\n" in card and "Milliseconds" not in card
    assert len(lines) == 4 and all(len(line) <= 80 for line in lines)


def test_the_last_line_says_how_it_is_served(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for formats, code in (("torch", False), ("onnx", True)):
        place = run.folder.parent / formats
        arguments = ["export", run.folder, "--format", formats, "--out", place, "--no-timing"]
        monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments)])
        with pytest.raises(SystemExit):
            main()
        *_, wrote, last = capsys.readouterr().out.splitlines()
        assert wrote == f"wrote {place}" and last.endswith("docs/serving.md puts it behind HTTP")
        assert (f"{place}/README.md has the code" in last) == code


def without_most(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def with_garbage(file: Path) -> None:
    file.write_bytes(b"x" * file.stat().st_size)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("spoil", [without_most, with_garbage, Path.unlink])
def test_a_damaged_file_is_refused(
    run: Run, refused: Callable[..., str], name: str, spoil: Callable[[Path], None]
) -> None:
    spoil(run.folder / "student" / name)
    line = refused("export", run.folder)
    assert re.search(f"student/{name} is (missing|damaged)", line)
    assert f"`kdnas resume {run.folder}`" in line
    assert not (run.folder / "export").exists()


def test_an_export_of_no_format_is_refused(run: Run) -> None:
    message = "invalid --format, none is named: expected one or several of torch, onnx, int8"
    for push_to_hub in (None, "user/name"):
        with pytest.raises(KdnasError, match=message):
            export(run, [], push_to_hub=push_to_hub)
    assert not (run.folder / "export").exists()


def test_a_card_of_an_earlier_report_is_neither_exported_nor_pushed(
    run: Run, tmp_path: Path
) -> None:
    shipped, aside = run.folder / "student", run.folder / "controls" / "searched"
    key = {"method": "distilled", "trial": 3}
    student_artifact(aside, key, small_tokenizer()).write(student_of(1))
    for folder, about in ((shipped, "this one"), (aside, "it as it shipped")):
        (folder / "README.md").write_text(f"# A student\n{about}\n")

    def exported(name: str, trial: int | None) -> bool:
        folder = export(run, trial=trial, out=tmp_path / name)["folder"]
        return (Path(folder) / "README.md").exists()

    with pytest.raises(KdnasError, match="student has no model card yet; .* `kdnas resume /"):
        export(run, push_to_hub="me/student")
    report = run.folder / "report.json"
    report.write_text(json.dumps({"student": {"content": content_of(shipped)}}))
    assert exported("shipped", None) and not exported("aside", 3)
    message = r"searched has no model card: another student ships; leave --trial out to push .*/stu"
    with pytest.raises(KdnasError, match=message):
        export(run, trial=3, push_to_hub="me/student")
    report.write_text(json.dumps({"student": {"content": content_of(aside)}}))
    assert not exported("resumed", None)  # it was trained after the report
    with pytest.raises(KdnasError, match="student has no model card yet; .* `kdnas resume /"):
        export(run, push_to_hub="me/student")
    beside = Path(shutil.copytree(aside, run.folder / "students" / "trial-4" / "student"))
    with pytest.raises(KdnasError, match=r"no model card yet; .* `kdnas distill .* --trial 4`"):
        export(run, trial=4, push_to_hub="me/student")
    assert (beside / "README.md").exists()


def test_a_full_disk_leaves_nothing(run: Run, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(KdnasError, match="cannot write .*/out: larger than this process"):
            export(run, "torch", out=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_an_emptied_student_is_refused(run: Run, refused: Callable[..., str]) -> None:
    shutil.rmtree(run.folder / "student")
    (run.folder / "student").mkdir()
    line = refused("export", run.folder)
    assert "student/kdnas.json is missing" in line and "`kdnas resume" in line


@pytest.mark.parametrize("name", ["embeddings.word_embeddings.weight", "classifier.bias"])
def test_weights_that_are_no_numbers_are_refused(
    run: Run, refused: Callable[..., str], name: str
) -> None:
    model = load_student(run.folder / "student")
    with torch.no_grad():
        next(v for k, v in model.named_parameters() if k.endswith(name)).view(-1)[-1] = torch.nan
    student_artifact(run.folder / "student", {"trial": 3}, small_tokenizer()).write(model)
    assert "NaN or infinite; make the student again" in refused("export", run.folder)


def with_wider_layers(text: str) -> str:
    return text.replace('"hidden_size": 32', '"hidden_size": 64')


def with_more_layers(text: str) -> str:
    return text.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer.json", lambda _: "{}"),
        ("config.json", with_wider_layers),
        ("config.json", with_more_layers),
    ],
)
def test_a_student_that_does_not_load_is_refused(
    run: Run, refused: Callable[..., str], name: str, change: Callable[[str], str]
) -> None:
    file, manifest = run.folder / "student" / name, run.folder / "student" / "kdnas.json"
    file.write_text(change(file.read_text()))
    known = json.loads(manifest.read_text())
    del known["files"][name]  # so that checksums say nothing of it
    manifest.write_text(json.dumps(known))
    line = refused("export", run.folder)
    assert "cannot load" in line and "make the student again" in line


def test_bad_input(
    run: Run, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "invalid --format 'onx'; did you mean 'onnx'?" in refused(
        "export", run.folder, "--format", "onx"
    )
    line = refused("export", run.folder, "--trial", 7)
    assert "trial-7/student does not exist yet" in line and "--trial 7`" in line
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "full is not empty" in refused("export", run.folder, "--out", tmp_path / "full")
    assert "--max-drop" in refused("export", run.folder, "--max-drop", -1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    line = refused("export", run.folder, "--format", "onnx,int8")
    assert "--format onnx,int8 needs the package(s) onnxruntime" in line and "kdnas[onnx]" in line
    shutil.rmtree(run.folder / "student")
    assert "`kdnas resume" in refused("export", run.folder)
    assert not (run.folder / "export").exists()
