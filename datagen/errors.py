"""Errors, sorted by who must act.

Every message is a sentence for that person: what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class DatagenError(Exception):
    """Base of all errors this package raises on purpose. ``exit_code`` is what the CLI returns."""

    exit_code = 1


class UsageError(DatagenError):
    """A recipe, an option or a path given by the user is wrong; nothing was started."""

    exit_code = 2


class RunError(DatagenError):
    """A run could not finish. What was committed stays; the same command continues it."""


class EnvironmentFault(RunError):
    """The machine, not the data, is at fault (disk full, no memory): no row may be blamed."""


class RowError(DatagenError):
    """One input row cannot be processed. Raised by stages and adapters, becomes a row in ``rejects``.

    Args:
        error_class: short stable name, e.g. ``"DecodeError"`` (what ``datagen rejects list`` groups by).
        message: a sentence for the person who owns the data.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # survives pickling between processes
        return (type(self), (self.error_class, self.message))
