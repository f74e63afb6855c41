"""`kdnas export --push-to-hub` against a small server that speaks the hub's protocol."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import small_config, small_tokenizer
from huggingface_hub import constants
from huggingface_hub.utils import validate_repo_id
from transformers import AutoModelForSequenceClassification

from kdnas.cli.app import main
from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.exporting.push import check_login
from kdnas.runs.run_folder import dump
from kdnas.students.checkpoint import card_at, student_artifact

Request = tuple[str, str, str, bytes]


class FakeHub(BaseHTTPRequestHandler):
    """Answers what an upload asks; keeps every request: method, path, authorisation, body."""

    requests: list[Request]
    token = "hf_right"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bearer = self.headers.get("Authorization", "")
        self.requests.append((self.command, self.path, bearer, body))
        if bearer != f"Bearer {self.token}":
            self._send(401, {"error": "Invalid credentials in Authorization header"})
        else:
            self._send(200, self._content(self.path, body))

    def _content(self, path: str, body: bytes) -> dict[str, Any]:
        here = f"http://{self.headers['Host']}"
        if path.endswith("/whoami-v2"):
            return {"name": "me", "type": "user", "auth": {}}
        if path.endswith("/repos/create"):
            return {"url": f"{here}/me/{json.loads(body)['name']}", "name": "me/student"}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            return {"files": [{"path": file["path"], **mode} for file in files]}
        if "/commit/" in path:
            oid = "0" * 40
            url = f"{here}/me/student/commit/{oid}"
            return {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}
        return {"warnings": [], "errors": [], "sha": "0" * 40, "id": "me/student", "siblings": []}

    def _send(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def hub() -> Iterator[tuple[str, list[Request]]]:
    """Its address, and the requests that it got."""
    handler = type("Handler", (FakeHub,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.requests  # type: ignore[attr-defined]
    server.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the files of a student."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(dump(Settings()))
    (folder / "report.json").write_text("{}")  # it is finished
    model = AutoModelForSequenceClassification.from_config(small_config())
    student_artifact(folder / "student", {}, small_tokenizer()).write(model)
    (folder / "student" / "README.md").write_text("---\ntags: [kdnas]\n---\n# A student\n")
    return folder


@pytest.fixture
def export(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`kdnas export RUN ...` with a hub and a token: exit code, output, complaint."""

    def call(address: str, token: str | None, *flags: object) -> tuple[int, str, str]:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(run / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(sys, "argv", ["kdnas", "export", str(run), *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def test_the_student_and_its_card_are_uploaded(
    run: Path, hub: tuple[str, list[Request]], export: Callable[..., tuple[int, str, str]]
) -> None:
    address, requests = hub
    code, out, err = export(address, "hf_right", "--push-to-hub", "me/student", "--private")
    assert (code, out) == (0, f"pushed to {address}/me/student\n"), err
    made = next(json.loads(body) for _, path, _, body in requests if path.endswith("create"))
    assert made["name"] == "student" and (made.get("private") or made["visibility"] == "private")
    commit = next(body for _, path, _, body in requests if "/commit/" in path)
    lines = [json.loads(line) for line in commit.splitlines()]
    assert lines[0]["value"]["summary"] == "Upload a student found by kdnas"
    files = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in lines
        if line["key"] == "file"
    }
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert yaml.safe_load(files["README.md"].decode().split("---")[1]) == {"tags": ["kdnas"]}
    assert not (run / "export").exists()


def test_code_that_runs_in_the_folder_stays_as_it_is() -> None:
    here = 'AutoTokenizer.from_pretrained(".", model_max_length=9)'
    card = f'{here}\nAutoModel.from_pretrained("/runs/a \\"b\\"")\n'
    assert card_at(card, "me/student") == f'{here}\nAutoModel.from_pretrained("me/student")\n'


def test_what_cannot_be_pushed_is_refused_in_one_line_before_any_work(
    run: Path, hub: tuple[str, list[Request]], export: Callable[..., tuple[int, str, str]]
) -> None:
    address, requests = hub
    flags = ("--push-to-hub", "me/student", "--out", run / "out")
    cases = [
        (address, None, "needs a token of the Hugging Face hub: run `hf auth login`"),
        (address, "hf_wrong", "the hub refuses me/student"),
        ("http://127.0.0.1:9", "hf_right", "cannot reach the hub"),
    ]
    for place, token, expected in cases:
        code, out, err = export(place, token, *flags)
        assert (code, out, err.count("\n")) == (2, "", 1) and expected in err, err
    assert {path for _, path, _, _ in requests} == {"/api/whoami-v2"}
    code, _, err = export(address, "hf_right", "--push-to-hub", "a/b/c")
    assert code == 2 and "invalid --push-to-hub 'a/b/c'" in err
    assert not (run / "out").exists()


@pytest.mark.parametrize("name", ["bad name!", "a/b/c", "--", "x" * 200])
def test_the_suggested_name_is_valid(name: str) -> None:
    with pytest.raises(KdnasError, match="such as you/") as caught:
        check_login(name)
    validate_repo_id(str(caught.value).split("such as ")[1].split()[0])
