"""The one exception that means: the user can fix it."""


class UserError(Exception):
    """What is wrong, where, and what to type next, in one line. The command line prints it and exits with 2."""
