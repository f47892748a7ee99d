"""How an exception crosses from a worker to the driver: as words, not as a pickled object.

Third-party exceptions often do not unpickle, or drag tensors along. Only this package's own kinds come back as
exceptions, because code decides by them; the others keep their class name, message and traceback as text.
"""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass

from datagen.errors import DatagenError, EnvironmentFault, RowError, RunError, UsageError

#: Errors of the operating system that say nothing about the data: no space, no quota, read-only, no descriptors.
MACHINE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})

#: Most specific first: a subclass crosses as the nearest of these.
_KINDS: tuple[type[DatagenError], ...] = (RowError, EnvironmentFault, UsageError, RunError)


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception in words. ``kind`` is the class of ``datagen.errors`` to rebuild, empty for all others."""

    error_class: str
    message: str
    traceback: str
    kind: str = ""

    def restore(self) -> DatagenError | None:
        """The exception, when it is one of this package's own."""
        if self.kind == RowError.__name__:
            return RowError(self.error_class, self.message)
        for kind in _KINDS:
            if kind.__name__ == self.kind:
                return kind(self.message)
        return None


def describe(error: BaseException) -> Failure:
    """Exception -> ``Failure``. A full disk or exhausted memory anywhere in its causes is an ``EnvironmentFault``."""
    text = "".join(traceback.format_exception(error))
    fault = _machine_fault(error)
    if fault is not None:
        own = error if isinstance(error, EnvironmentFault) else fault  # ours says where, and what to do
        message = str(own) if own is error else f"{type(fault).__name__}: {fault}".removesuffix(": ")
        return Failure(EnvironmentFault.__name__, message, text, EnvironmentFault.__name__)
    message = str(error) or type(error).__name__
    if isinstance(error, RowError):
        return Failure(error.error_class, error.message, text, RowError.__name__)
    kind = next((kind.__name__ for kind in _KINDS if isinstance(error, kind)), "")
    return Failure(kind or type(error).__name__, message, text, kind)


def _machine_fault(error: BaseException) -> BaseException | None:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in MACHINE_ERRNOS):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__
    return None
