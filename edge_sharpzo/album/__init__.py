"""The photo folder as something that can be changed: each step journaled, undoable, nothing lost.

It knows nothing of models, runs or the web.
"""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.album.album import Added, Album
    from edge_sharpzo.album.contents import AlbumPhoto, ClassFolder, Contents
    from edge_sharpzo.album.errors import DiskFullError, InUseError, NameTakenError, NotThereError
    from edge_sharpzo.album.opened import Outcome, Step

__all__ = [
    "Added",
    "Album",
    "AlbumPhoto",
    "ClassFolder",
    "Contents",
    "DiskFullError",
    "InUseError",
    "NameTakenError",
    "NotThereError",
    "Outcome",
    "Step",
]
__getattr__ = exports(
    __name__,
    {
        "Added": "album",
        "Album": "album",
        "AlbumPhoto": "contents",
        "ClassFolder": "contents",
        "Contents": "contents",
        "DiskFullError": "errors",
        "InUseError": "errors",
        "NameTakenError": "errors",
        "NotThereError": "errors",
        "Outcome": "opened",
        "Step": "opened",
    },
)
