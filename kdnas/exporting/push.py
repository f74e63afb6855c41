"""A shipped checkpoint, card and all, on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdnas.errors import KdnasError
from kdnas.students.checkpoint import CARD

UNAUTHORISED = (401, 403)


def check_described(student: Path) -> None:
    """Refuses to push a checkpoint that has no model card yet.

    Raises:
        KdnasError: There is none: its run is not finished.
    """
    if not (student / CARD).exists():
        raise KdnasError(
            f"{student} has no model card yet, since its run is not finished; kdnas resume goes on"
        )


def check_login(repo: str) -> None:
    """Makes sure that a push to a repository can be tried, before any work.

    Raises:
        KdnasError: The name cannot be a repository's, there is no token, the hub refuses it, or
            the hub cannot be reached.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError:
        name = re.sub(r"[^\w.-]+|--+|\.\.+", "-", Path(repo).name).strip("-.") or "student"
        raise KdnasError(
            f"--push-to-hub is {repo!r}; the name of a repository such as you/{name[:90]} would be "
            "right"
        ) from None
    if get_token() is None:
        raise KdnasError(
            "--push-to-hub needs a token of the Hugging Face hub: run `hf auth login`, or set "
            "HF_TOKEN (a token with write access from https://huggingface.co/settings/tokens)"
        )
    with _told_in_one_line(repo):
        HfApi().whoami()


def push(folder: Path, repo: str, private: bool = False) -> str:
    """Uploads a folder as a model, into a repository that is made where there is none.

    Args:
        folder: The checkpoint.
        repo: `user/name`, or `name` for the token's own user.
        private: Whether a new repository is private.

    Returns:
        Its address.

    Raises:
        KdnasError: The hub cannot be reached, or refuses it.
    """
    api = HfApi()
    with _told_in_one_line(repo):
        url = api.create_repo(repo, private=private, exist_ok=True)
        message = "Upload a student found by kdnas"
        api.upload_folder(repo_id=url.repo_id, folder_path=folder, commit_message=message)
    return str(url)


@contextmanager
def _told_in_one_line(repo: str) -> Iterator[None]:
    try:
        yield
    except OfflineModeIsEnabled:
        raise KdnasError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        advice = "; a token with write access is needed" if status in UNAUTHORISED else ""
        reason = (error.server_message or str(error)).splitlines()[0]
        raise KdnasError(f"the hub refuses {repo}: {reason}{advice}") from None
    except Exception as error:  # httpx's many ways of saying that there is no connection
        if not type(error).__module__.startswith(("http", "requests")):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise KdnasError(f"the hub cannot be reached ({reason}); is there a network?") from None
