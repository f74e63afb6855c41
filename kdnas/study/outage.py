"""Waiting for a storage that is out of reach for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError

from kdnas.errors import KdnasError
from kdnas.study.storage import grpc_errors, reason_of

PATIENCE_SECONDS = 600.0
AGAIN_SECONDS = 2.0

T = TypeVar("T")


def outages() -> tuple[type[Exception], ...]:
    """What an operation on a study raises while its storage is out of reach."""
    return (StorageInternalError, sqlalchemy.exc.OperationalError, *grpc_errors())


def patiently(work: Callable[[], T], tell: Callable[[str], None]) -> T:
    """Does something, again and again while the storage is out of reach.

    Args:
        work: May be begun several times.
        tell: Is told once what is waited for.

    Raises:
        KdnasError: It has been out of reach for too long.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    told = False
    while True:
        try:
            return work()
        except outages() as error:
            if time.monotonic() > end:
                raise KdnasError(
                    f"the study's storage is out of reach: {reason_of(error)}"
                ) from None
            if not told:
                tell(f"the study's storage is out of reach; waiting for it ({reason_of(error)})")
            told = True
            time.sleep(AGAIN_SECONDS)
