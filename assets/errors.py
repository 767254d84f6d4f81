"""Errors that people read: what is wrong, where, the value, what is accepted, and the fix."""

from __future__ import annotations


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


class BlockedError(FreshtuneError):
    """A step refuses to run because a blocking check of a step before it failed."""
