"""A checkpoint with its card on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdnas.errors import KdnasError
from kdnas.students.checkpoint import CARD, card_at


def check_login(repo: str) -> None:
    """Raises KdnasError, before any work, where a push to a repository cannot be tried."""
    try:
        validate_repo_id(repo)
    except HFValidationError:
        name = re.sub(r"[^\w.-]+|--+|\.\.+", "-", Path(repo).name).strip("-.") or "student"
        raise KdnasError(
            f"invalid --push-to-hub {repo!r}: expected a repository such as you/{name[:90]}"
        ) from None
    if get_token() is None:
        raise KdnasError(
            "--push-to-hub needs a token of the Hugging Face hub: run `hf auth login`, or set "
            "HF_TOKEN (a token with write access from https://huggingface.co/settings/tokens)"
        )
    with _hub_errors(repo):
        HfApi().whoami()


def push(folder: Path, repo: str, private: bool) -> str:
    """Uploads a folder as a model, into a new repository where there is none; returns its address.

    Raises KdnasError where the hub refuses it or cannot be reached.
    """
    api = HfApi()
    with _hub_errors(repo):
        url = api.create_repo(repo, private=private, exist_ok=True)
        message = "Upload a student found by kdnas"
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        operations = [
            CommitOperationAdd(file.relative_to(folder).as_posix(), _content(file, url.repo_id))
            for file in files
        ]
        api.create_commit(url.repo_id, operations, commit_message=message)
    return str(url)


def _content(file: Path, repo: str) -> str | bytes:
    """A file to upload, by its path; the card's snippets name the repository."""
    if file.name != CARD:
        return str(file)
    return card_at(file.read_text(encoding="utf-8"), repo).encode()


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turns the hub client's errors into one line."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise KdnasError("cannot push while HF_HUB_OFFLINE is set; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        advice = "; use a token with write access" if status in (401, 403) else ""
        reason = (error.server_message or str(error)).splitlines()[0]
        raise KdnasError(f"the hub refuses {repo}: {reason}{advice}") from None
    except Exception as error:  # httpx raises many kinds where there is no connection
        if not type(error).__module__.startswith(("http", "requests")):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KdnasError(f"cannot reach the hub: {reason}; check the network") from None
