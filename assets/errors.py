"""Errors that people read: what is wrong, where, the value, what is accepted, and the fix."""

from __future__ import annotations

import errno
from pathlib import Path


class FreshtuneError(Exception):
    """Base of every error that freshtune raises on purpose; its text is complete without a traceback.

    Attributes:
        what: one sentence that says what is wrong, with the offending value.
        where: file, field, row or object that it is about, or "".
        fix: what the person can do about it, or "".
        exit_code: what the command line exits with.
        transient: whether trying again without a change may succeed.
    """

    exit_code = 1
    transient = False

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  fix: {self.fix}" if self.fix else text


class ConfigurationError(FreshtuneError):
    """Wrong use or wrong configuration; found before anything runs."""

    exit_code = 2


class DataError(FreshtuneError):
    """The data cannot be used as they are; files, rows, columns and values are named."""


class StoreError(FreshtuneError):
    """The store cannot be read or written."""


class DamagedError(StoreError):
    """An object of the store is not what its manifest says."""


class TransientError(FreshtuneError):
    """A fault outside freshtune that may pass: worth a retry."""

    transient = True


class ChangingError(TransientError):
    """A file of the source changed while it was looked at; the next look sees it as it is then."""


class BlockedError(FreshtuneError):
    """A step refuses to run because a blocking check of a step before it failed."""


def explained(error: OSError, home: Path) -> FreshtuneError | None:
    """What a failed system call means to a person, or None where it is not about the folder that freshtune writes to.

    Args:
        error: what the operating system said.
        home: the folder of everything that freshtune writes.
    """
    where = str(error.filename or home)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreError(
            "no space left on the disk while a result was written; nothing half-written was kept",
            where=where,
            fix="free some space, or point FRESHTUNE_HOME at a larger disk, and run again",
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR} and where.startswith(str(home)):
        return ConfigurationError(
            f"cannot be written: {error.strerror}",
            where=where,
            fix="point FRESHTUNE_HOME at a folder that you can write to",
        )
    return None
