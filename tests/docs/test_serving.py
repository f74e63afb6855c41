"""What docs/serving.md serves answers as `kdnas predict` does, and its commands fit the exports."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import QUICK, small_config, small_tokenizer
from support.tiny_tokenizers import MAKE
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from kdnas import predict
from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.exporting.export import export
from kdnas.runs.run_folder import dump
from kdnas.space import FAMILIES
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import TASK_TYPES, Examples, encode

FOLDER = Path(__file__).parents[2] / "docs/serving"
PAGE = FOLDER.with_suffix(".md").read_text(encoding="utf-8")
TEXTS = ["the good cat likes the bank", "the dull film " * 50, "ein Wort"]
PAIRS = [("the good cat", "the dull film"), ("a city", "a river " * 50)]
CLASSES = {0: "negative", 1: "neither", 2: "positive"}
# Runs a script where what a server must not need cannot be imported.
APART = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "kdnas", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def save_run(folder: Path, side: str = "right", texts: int = 1, **changes: Any) -> Path:
    """A finished run with a student that nobody trained; texts are cut on a side."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(small_config("bert", **changes))
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    tokenizer = small_tokenizer(truncation_side=side)
    student_artifact(folder / "student", {"trial": 1}, tokenizer).write(model)
    entry: dict[str, Any] = {"text": ["a", "b"][:texts], "type": "regression"}
    if model.num_labels > 1:
        several = model.config.problem_type == "multi_label_classification"
        entry["type"] = "multi-label" if several else "classification"
        entry["labels"] = list(model.config.id2label.values())
    settings = Settings(task="t", tasks={"t": entry}, data_dir=folder, max_length=64, **QUICK)
    (folder / "config.yaml").write_text(dump(settings))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run") / "run", id2label=CLASSES)


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    """What the first command of the page writes."""
    (command,) = re.findall(r"^kdnas export RUN (.*)$", PAGE, re.MULTILINE)
    formats = re.search(r"--format (\S+) --out served", command)
    assert formats
    return Path(export(run, formats[1], out=run.parent / "served", timing=False)["folder"])


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a student of pairs."""
    run = save_run(tmp_path_factory.mktemp("paired") / "run", texts=2, id2label=CLASSES)
    return Path(export(run, "onnx", timing=False)["folder"])


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a file of docs/serving as a server does."""
    names = {path.stem for path in FOLDER.glob("*.py")}
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in names & sys.modules.keys():
        del sys.modules[name]


def alike(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    """Whether answers are those of `kdnas predict`, which also repeats the texts."""
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keys() == theirs.keys() - {"text", "text_pair"}
        assert ours.get("label") == theirs.get("label")
        assert ours.get("labels") == theirs.get("labels")
        assert ours.get("score") == pytest.approx(theirs.get("score"), abs=1e-4)
        probabilities = theirs.get("probabilities", {})
        assert ours.get("probabilities", {}) == pytest.approx(probabilities, abs=1e-4)
    return True


def test_it_runs_without_torch(exported: Path, run: Path) -> None:
    words = [sys.executable, "-c", APART, FOLDER / "student.py", exported, *TEXTS]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = predict(str(run), TEXTS)
    assert alike([json.loads(line) for line in done.stdout.splitlines()], wanted)
    assert len({round(answer["score"], 3) for answer in wanted}) > 1


def test_pairs_numbers_and_int8(
    serving: Callable[[str], Any], paired: Path, tmp_path: Path
) -> None:
    student = serving("student")
    first, second = zip(*PAIRS, strict=True)
    wanted = predict(str(paired.parent), first, pairs=second)
    assert alike(student.load(paired)(PAIRS), wanted)
    number = save_run(tmp_path / "number", texts=2, num_labels=1, problem_type="regression")
    label = student.load(Path(export(number, "onnx,int8", timing=False)["folder"]))
    assert alike(label(PAIRS), predict(str(number), first, pairs=second))
    small = Path(export(number, "int8", out=tmp_path / "int8", timing=False)["folder"])
    assert student.load(small)(PAIRS)[0].keys() == {"score"}


def test_texts_for_a_student_of_pairs_are_refused_as_kdnas_does(
    serving: Callable[[str], Any], exported: Path, paired: Path, run: Path
) -> None:
    student = serving("student")
    with pytest.raises(KdnasError, match="reads pairs"):
        predict(str(paired.parent), TEXTS[:1])
    with pytest.raises(student.WrongTextsError, match=r"^row 2 is one text: 'ein Wort'; .* pairs$"):
        student.load(paired)([PAIRS[0], "ein Wort"])
    with pytest.raises(KdnasError, match="reads one text a row"):
        predict(str(run), ["a"], pairs=["b"])
    with pytest.raises(student.WrongTextsError, match=r"^row 1 is a pair: .* reads single texts$"):
        student.load(exported)(PAIRS)


def test_an_older_export_does_not_say_how_many_texts_it_reads(
    serving: Callable[[str], Any], exported: Path, tmp_path: Path
) -> None:
    older = shutil.copytree(exported, tmp_path / "older")
    about = json.loads((older / "export.json").read_text(encoding="utf-8"))
    assert about.pop("texts") == 1
    (older / "export.json").write_text(json.dumps(about))
    first, second = zip(*PAIRS, strict=True)
    assert alike(serving("student").load(older)(PAIRS), predict(str(older), first, pairs=second))


def test_texts_are_cut_where_the_tokenizer_cuts_them(
    serving: Callable[[str], Any], tmp_path: Path
) -> None:
    kind = {"num_labels": 1, "problem_type": "regression", "initializer_range": 0.1}
    run = save_run(tmp_path / "left", "left", **kind)
    folder = Path(export(run, "onnx", timing=False)["folder"])
    texts = ["the dull film " * 40 + end * 30 for end in ("cat ", "ein Wort ", "bank . ")]
    wanted = predict(str(run / "student"), texts)
    assert alike(serving("student").load(folder)(texts), wanted)
    assert len({round(answer["score"], 3) for answer in wanted}) == 3
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SystemExit, match=r"no tokenizer\.json: take the code of its README"):
        serving("student").load(folder)


@pytest.mark.parametrize("kind", ["question-answering", "sequence-to-sequence", "ordinal"])
def test_types_that_answer_by_code_of_their_own_are_refused(
    serving: Callable[[str], Any], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "export.json").write_text(json.dumps({"task_type": kind}))
    with pytest.raises(SystemExit, match=rf"{kind}: take the code of .*README\.md"):
        serving("student").load(tmp_path)


def test_several_labels(serving: Callable[[str], Any], tmp_path: Path) -> None:
    kind = {"problem_type": "multi_label_classification", "kdnas_threshold": 0.4}
    run = save_run(tmp_path / "several", texts=2, id2label=CLASSES, **kind)
    label = serving("student").load(Path(export(run, "onnx", timing=False)["folder"]))
    first, second = zip(*PAIRS, strict=True)
    wanted = predict(str(run), first, pairs=second)
    assert alike(label(PAIRS), wanted)
    for said in wanted:
        likely = [name for name, share in said["probabilities"].items() if share >= 0.4]
        assert said["labels"] == likely


ENTITIES = ["She likes Berlin.", '"Ann" (dog) sees\tAnn\'s cat...', "", "the good-old cat", "a" * 9]
SCHEMES = [
    ["O", "B-animal", "I-animal", "B-place", "I-place"],
    ["O", "animal", "place", "person"],
    ["O", "B_animal", "I_animal", "B_place"],
    ["B-animal", "I-animal", "L-animal", "U-animal", "o", "U-place"],
    ["NN", "VB", "DT"],
]


@pytest.mark.parametrize("labels", SCHEMES)
@pytest.mark.parametrize("family", ["xlm-roberta", "deberta-v2", "roberta", "bert"])
def test_entities_of_any_tokenizer_and_scheme(
    serving: Callable[[str], Any],
    labels: list[str],
    family: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    student, kind, tokenizer = serving("student"), TASK_TYPES["token-classification"], MADE[family]
    examples = Examples(ENTITIES, task_type=kind.name, classes=tuple(labels))
    data = encode(examples, tokenizer, 64)
    rows = tokenizer.backend_tokenizer.encode_batch(ENTITIES)
    rng, facts = np.random.default_rng(0), kind.export_facts(labels)
    logits = [rng.normal(size=(len(row.ids), len(labels))) for row in rows]
    ends = data.unit_offsets
    assert data.positions is not None
    units = [each[data.positions[ends[i] : ends[i + 1]]] for i, each in enumerate(logits)]
    wanted = [one["entities"] for one in kind.row_answers(np.concatenate(units), labels, data)]
    assert any(one["text"] == "." for row in wanted for one in row) or labels[0] != "NN"
    words = student.word_splitter(*facts["words"])
    for text, row, scores, entities in zip(ENTITIES, rows, logits, wanted, strict=True):
        found = student.entities(text, row, scores, facts["tags"], words)
        assert [one.pop("score") for one in found] == pytest.approx(
            [one.pop("score") for one in entities]
        )
        assert found == entities
    capsys.readouterr()
    exec(kind.onnx_answer(labels), {"texts": ENTITIES, "rows": rows, "logits": logits})
    printed = [ast.literal_eval(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [[(one["type"], one["text"]) for one in row] for row in wanted]


MADE = {name: MAKE[name]() for name in ("xlm-roberta", "deberta-v2", "roberta", "bert")}


def test_an_export_says_how_its_entities_are_read(
    serving: Callable[[str], Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    labels = SCHEMES[1]
    config = small_config("bert", **TASK_TYPES["token-classification"].head_config(labels))
    model = AutoModelForTokenClassification.from_config(config)
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    run = tmp_path / "run"
    student_artifact(run / "student", {"trial": 1}, small_tokenizer()).write(model)
    entry = {"type": "token-classification", "labels": labels}
    settings = Settings(task="t", tasks={"t": entry}, data_dir=run, max_length=64, **QUICK)
    (run / "config.yaml").write_text(dump(settings))
    folder = Path(export(run, "onnx", timing=False)["folder"])
    texts = ["the good cat likes the bank.", "(the dull film) ein Wort"]
    wanted = [one["entities"] for one in predict(str(run), texts)]
    found = [one["entities"] for one in serving("student").load(folder)(texts)]
    for ours, theirs in zip(found, wanted, strict=True):
        assert [one | {"score": 0} for one in ours] == [one | {"score": 0} for one in theirs]
    assert any(wanted)
    with pytest.raises(serving("student").WrongTextsError, match="reads single texts"):
        serving("student").load(folder)(PAIRS)
    about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    del about["words"]
    (folder / "export.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit, match="of an older kdnas: export the student again"):
        serving("student").load(folder)


def test_the_app_answers_as_the_page_says(
    serving: Callable[[str], Any], exported: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="no fastapi (pip install fastapi)")
    from fastapi.testclient import TestClient

    monkeypatch.setenv("EXPORT", str(exported))
    client = TestClient(serving("app").app)
    (path, body) = re.findall(r"curl -s 127\.0\.0\.1:8000(\S+) .*?-d '(.*?)'", PAGE, re.DOTALL)[0]
    texts = json.loads(body)["texts"]
    answered = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answered.status_code == 200
    assert alike(answered.json(), predict(str(run), texts))
    refused = client.post(path, json={"texts": PAIRS})
    assert refused.status_code == 422 and "reads single texts" in refused.json()["detail"]
    for wrong in ({"texts": []}, {"texts": [1]}, {"text": "a"}, {"texts": [["a", "b", "c"]]}):
        assert client.post(path, json=wrong).status_code == 422
    assert client.get("/health").json() == {"status": "ready"}


def test_the_app_answers_pairs_for_a_student_of_pairs(
    serving: Callable[[str], Any], paired: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="no fastapi (pip install fastapi)")
    from fastapi.testclient import TestClient

    monkeypatch.setenv("EXPORT", str(paired))
    client = TestClient(serving("app").app)
    assert client.post("/predict", json={"texts": PAIRS}).status_code == 200
    assert client.post("/predict", json={"texts": TEXTS}).status_code == 422


def test_the_files_compile_and_the_page_names_them() -> None:
    for file in FOLDER.glob("*.py"):
        compile(file.read_text(encoding="utf-8"), str(file), "exec")
        assert f"docs/serving/{file.name}" in PAGE


def saved_config(model_type: str, folder: Path) -> dict[str, Any]:
    config = small_config(model_type, id2label=CLASSES, label2id={})
    config.architectures = ["SomeForSequenceClassification"]
    config.save_pretrained(folder)
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def test_text_embeddings_inference_finds_what_it_reads(exported: Path, tmp_path: Path) -> None:
    """Files, fields and the graph's names, as its source (1.9) reads them."""
    assert all((exported / name).exists() for name in ("config.json", "tokenizer.json"))
    session = onnxruntime.InferenceSession(exported / "onnx/model.onnx")
    given = {"input_ids", "attention_mask", "token_type_ids"}
    inputs = {one.name for one in session.get_inputs()}
    assert {"input_ids", "attention_mask"} <= inputs <= given
    assert [one.name for one in session.get_outputs()] == ["logits"]
    read = {"architectures", "model_type", "id2label", "label2id", "max_position_embeddings"}
    of_onnx, without = {"hidden_size", "num_hidden_layers"}, set()
    for model_type in FAMILIES:
        fields = saved_config(model_type, tmp_path / model_type).keys()
        assert read <= fields, model_type
        without |= set() if of_onnx <= fields else {model_type}
    (told,) = re.findall(r"all families but (.*?)[,;.:]", PAGE)
    assert set(re.findall(r"`(\S+?)`", told)) == without
