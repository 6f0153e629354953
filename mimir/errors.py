"""Every way an operation can fail, and what each failure is called at each face.

MimirError
 ├─ InvalidInput    the caller's value is wrong
 ├─ NotFound        nothing has this name
 ├─ Conflict        the change contradicts what is stored
 ├─ Unauthorized    the caller did not prove who it is
 ├─ Locked          the store is sealed with another key
 ├─ Unavailable     a part that is needed cannot work now
 ├─ Busy            another process holds the store too long
 └─ StorageFailure  the file cannot be read or written
"""

from __future__ import annotations

from typing import ClassVar


class MimirError(Exception):
    """A failure with a message for people, a code for programs and a hint what to do next."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(MimirError):
    """An argument has the wrong type, is out of range or is malformed."""

    code = "invalid_input"
    http_status = 400
    exit_status = 2


class NotFound(MimirError):
    """Nothing is stored under the given name."""

    code = "not_found"
    http_status = 404
    exit_status = 3


class Conflict(MimirError):
    """The request is ambiguous or contradicts a change made meanwhile."""

    code = "conflict"
    http_status = 409
    exit_status = 4


class Unauthorized(MimirError):
    """The bearer token is missing or wrong."""

    code = "unauthorized"
    http_status = 401
    exit_status = 5


class Locked(MimirError):
    """The encryption key is missing or is not the one of this store."""

    code = "locked"
    http_status = 423
    exit_status = 5


class Busy(MimirError):
    """Another process held the write lock longer than the bounded wait."""

    code = "busy"
    http_status = 503
    exit_status = 6


class Unavailable(MimirError):
    """A required part is not installed, not configured or does not answer."""

    code = "unavailable"
    http_status = 503
    exit_status = 6


class StorageFailure(MimirError):
    """The store cannot be opened, read or written: damaged, read-only, full or foreign."""

    code = "storage"
    http_status = 500
    exit_status = 7


ALL: tuple[type[MimirError], ...] = (
    InvalidInput,
    NotFound,
    Conflict,
    Unauthorized,
    Locked,
    Busy,
    Unavailable,
    StorageFailure,
    MimirError,
)
