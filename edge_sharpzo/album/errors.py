"""What an album refuses, by kind; all of it can be mended by the user."""

from edge_sharpzo.system.errors import UserError

NO_PHOTO = "there is no such photo (any more): it was moved, replaced or deleted. List them again"


class NotThereError(UserError):
    """No such class or photo, or nothing to undo."""


class NameTakenError(UserError):
    """A class is called so already, or spelt nearly so."""


class InUseError(UserError):
    """Another process has the folder open; the text says which and at what address."""


class DiskFullError(UserError):
    """There is no room; nothing was changed."""
