"""Errors as the API answers them: JSON with a cause, never a stack trace."""

import errno
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from edge_sharpzo.album import DiskFullError, InUseError, NameTakenError, NotThereError
from edge_sharpzo.system.errors import UserError, os_error_text

OF_BODY = ("name", "to", "into", "display", "template")  # fields that the client has sent
FULL = (errno.ENOSPC, errno.EDQUOT)
TOO_MANY = (errno.EMFILE, errno.ENFILE)  # open files


class Told(msgspec.Struct):
    """What is wrong, and the option or field at fault where it is one."""

    cause: str
    field: str | None = None


class ErrorAnswer(msgspec.Struct):
    """The body of every answer that is an error."""

    error: Told


class AskedError(Exception):
    """A request that cannot be answered, with its HTTP status."""

    def __init__(self, status: int, cause: str, field: str | None = None):
        super().__init__(cause)
        self.status, self.cause, self.field = status, cause, field

    def response(self) -> Response:
        """The answer."""
        return error_response(self.status, self.cause, self.field)


def error_response(
    status: int, cause: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that is an error."""
    body = msgspec.json.encode(ErrorAnswer(Told(cause, field)))
    return Response(body, status, headers, media_type="application/json")


def as_asked_error(error: Exception) -> AskedError:
    """What to answer where something failed on the way."""
    match error:
        case AskedError():
            return error
        case NotThereError():
            return AskedError(404, str(error), error.field)
        case DiskFullError():
            return AskedError(507, str(error), error.field)
        case NameTakenError() | InUseError():
            return AskedError(409, str(error), error.field)
        case UserError(__cause__=OSError() as cause) if cause.errno in TOO_MANY:
            return AskedError(503, str(error), error.field)
        case UserError():
            return AskedError(422 if error.field in OF_BODY else 409, str(error), error.field)
        case OSError() if error.errno in FULL:
            return AskedError(507, "the disk is full: make room, then do it again")
        case OSError():
            return AskedError(503, os_error_text(error))
        case MemoryError():
            return AskedError(503, "memory ran out: try again with less at once")
    return AskedError(503, f"that failed ({type(error).__name__}): the station goes on")
