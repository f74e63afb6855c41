"""`kdnas export --push-to-hub` against a small server that speaks the hub's protocol."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdnas.config import Settings
from kdnas.run import dump

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
    (folder / "student").mkdir(parents=True)
    (folder / "config.yaml").write_text(dump(Settings()))
    (folder / "student" / "config.json").write_text("{}")
    (folder / "student" / "README.md").write_text("---\ntags: [kdnas]\n---\n# A student\n")
    return folder


def export(run: Path, *flags: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`kdnas export RUN` without the tokens and the offline mode of who runs the tests."""
    dropped = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_TOKEN_PATH")
    kept = {k: v for k, v in os.environ.items() if k not in dropped}
    return subprocess.run(
        [sys.executable, "-m", "kdnas", "export", str(run), *map(str, flags)],
        env={**kept, "HF_HOME": str(run.parent / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_student_and_its_card_are_uploaded(
    run: Path, hub: tuple[str, list[Request]], tmp_path: Path
) -> None:
    address, requests = hub
    flags = ("--push-to-hub", "me/student", "--private")
    done = export(run, *flags, HF_ENDPOINT=address, HF_TOKEN="hf_right")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"pushed to {address}/me/student"
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
    assert set(files) == {"README.md", "config.json"}
    assert yaml.safe_load(files["README.md"].decode().split("---")[1]) == {"tags": ["kdnas"]}
    assert not (run / "export").exists()


def test_what_cannot_be_pushed_is_told_in_one_line_before_any_work(
    run: Path, hub: tuple[str, list[Request]]
) -> None:
    address, requests = hub
    flags = ("--push-to-hub", "me/student", "--out", run / "out")
    without = export(run, *flags, HF_ENDPOINT=address)
    assert "needs a token" in without.stderr and "hf auth login" in without.stderr
    assert not requests
    wrong = export(run, *flags, HF_ENDPOINT=address, HF_TOKEN="hf_wrong")
    assert "the hub refuses me/student" in wrong.stderr
    nowhere = export(run, *flags, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="hf_right")
    assert "the hub cannot be reached" in nowhere.stderr
    for done in (without, wrong, nowhere):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert not (run / "out").exists()
