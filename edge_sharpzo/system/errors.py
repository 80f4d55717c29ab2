"""What the package raises on purpose."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user can mend: the text says what is wrong, where, and what to do next.

    The text names options by their field between backticks, as in "`shots=-1`: ask for at least
    one". Python users read it as it is; the command line prints such fields as flags.

    Example:
        >>> error = UserError("`shots=-1`: ask for at least one photo per class", field="shots")
        >>> error.field
        'shots'
    """

    def __init__(self, message: str, field: str | None = None):
        """`field` is the option at fault, where it is one."""
        super().__init__(message)
        self.field = field


class PromptTooLongError(UserError):
    """A prompt does not fit into the tokens that the model reads."""

    def __init__(self, text: str, tokens: int, most: int):
        """`fault` says so without a cure, for those who know a better one."""
        self.fault = f"the prompt '{text[:80]}' needs {tokens} tokens and the model reads {most}"
        super().__init__(
            f"{self.fault}: shorten the class name (rename its folder, or use `class_names`; in "
            "the file `more_classes` if it is there), the `template` or the `context_tokens`",
            field="template",
        )


def not_one_of(known: Iterable[str], field: str, value: object) -> UserError:
    """What to tell the user of an option whose `value` is none of those that are `known`."""
    return UserError(f"`{field}={value}`: choose one of {', '.join(known)}", field=field)


@contextmanager
def os_errors_told() -> Iterator[None]:
    """Raises UserError for what the system refuses: a file that may not be read, a full disk."""
    try:
        yield
    except OSError as error:
        raise UserError(os_error_text(error)) from error


def os_error_text(error: OSError) -> str:
    """What the system refused, and what to look at."""
    what = f"cannot use {error.filename}" if error.filename else "that failed"
    return f"{what}: {error.strerror or error}. {_cure(error)}"


def _cure(error: OSError) -> str:
    match error.errno:
        case errno.EMFILE | errno.ENFILE:
            return "Try again in a moment, with fewer programs or pages open"
        case errno.EFBIG:
            return "Raise the limit on the size of files (`ulimit -f`), or take smaller ones"
        case errno.ENOSPC | errno.EDQUOT:
            return "Make room on the disk"
    return "Check the path and its permissions"


class Cancelled(BaseException):
    """The caller wished to stop.

    Like asyncio's CancelledError it is no `Exception`, so that no handler swallows it on its way.
    """
