"""What the package raises on purpose."""


class UserError(Exception):
    """Something that the user can mend: the text says what is wrong, where, and what to do next.

    The text names options by their field between backticks, as in "`shots=0`: ask for at least
    one". Python users read it as it is; the command line prints such fields as flags.

    Example:
        >>> error = UserError("`shots=0`: ask for at least one photo per class", field="shots")
        >>> error.field
        'shots'
    """

    def __init__(self, message: str, field: str | None = None):
        """`field` is the option at fault, where it is one."""
        super().__init__(message)
        self.field = field


class Cancelled(BaseException):
    """The caller wished to stop.

    Like asyncio's CancelledError it is no `Exception`, so that no handler swallows it on its way.
    """
