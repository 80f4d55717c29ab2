"""Photos that come into a folder: each is taken once, when its file stands still."""

import os
import stat
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np

from edge_sharpzo.clip.images import UnreadableImageError, load_image
from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.photos.left_out import of_kind
from edge_sharpzo.photos.scan import SUFFIXES, is_clutter
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import counted, shown, some
from edge_sharpzo.watching.sources import Frame, Frames
from edge_sharpzo.watching.trouble import Trouble

STILL = 1.0  # seconds that a file has not changed for
PATIENCE = 10.0  # and one that cannot be read: it may be half written, and its sender slow
SHORTEST = 0.1  # seconds between two looks
MOST_KINDS = 20  # of other files, that are told
MOST_ELSEWHERE = 100_000  # photos of other folders at its place, beyond which they are forgotten
BEAT = 1.0  # seconds after which there is a moment for other things
# What changes when a file is written or replaced: inode, size, mtime; and last ctime, which changes
# as well where it is linked, renamed or given other permissions.
Stamp = tuple[int, int, int, int]
# Files of several pictures, of which the first can be read before the others are there: how they
# begin, what else is in their HEAD, how they end.
SEVERAL = (
    (b"GIF8", b"", b"\0;"),
    (b"\x89PNG", b"acTL", b"\0\0\0\0IEND\xaeB`\x82"),
    (b"\xff\xd8\xff", b"MPF\0", b"\xff\xd9"),
)
HEAD, TAIL = 200_000, 64  # bytes


def folder_frames(folder: Path, every: float, tell: Tell) -> Frames:
    """The photos that come into `folder` from now on; those that lie there already are told of.

    One that is written anew comes again, one that is only renamed, linked or given other
    permissions does not. What lies in subfolders does not. A folder that goes away, as a camera's
    card may, is waited for. Raises UserError where it cannot be looked into.
    """
    inbox = _Inbox(folder)
    try:
        passed_over = inbox.pass_over()
    except OSError as error:
        raise UserError(
            f"cannot look into {folder} ({error.strerror}): give another `source`", "source"
        ) from error
    if passed_over:
        tell(
            f"{counted(passed_over, 'photo')} in {folder} already: what comes from now on is "
            "watched, `edge-sharpzo predict` takes what is there",
            False,
        )
    return _until_its_end(inbox, max(every, SHORTEST), tell)


def _until_its_end(inbox: "_Inbox", every: float, tell: Tell) -> Frames:
    """What comes; at the end it is told of what would have come."""
    try:
        yield from _coming(inbox, every, tell)
    finally:
        with suppress(OSError):
            inbox.look()
        if left := sorted(inbox.waiting()):
            tell(
                f"{counted(len(left), 'photo')} in {inbox.folder} had come and got no answer, "
                f"being new or unreadable: {some(left)}",
                True,
            )


def _coming(inbox: "_Inbox", every: float, tell: Tell) -> Frames:
    number, trouble = 0, Trouble(tell)
    while True:
        try:
            names = inbox.look()
        except OSError as error:
            trouble.begin(f"cannot look into {inbox.folder} ({error.strerror}): it is waited for")
            names = []
        else:
            trouble.end(f"{inbox.folder} is back")
        for text in inbox.news_of_others():
            tell(text, True)
        for name in names:
            if (picture := inbox.taken(name)) is not None:
                number += 1
                yield Frame(number, str(inbox.folder / name), picture, is_one_of_many=True)
        until = time.monotonic() + every
        while (left := until - time.monotonic()) > 0:
            yield None
            time.sleep(min(left, BEAT))


class _Inbox:
    """What of a folder has been taken, and what is being written."""

    def __init__(self, folder: Path):
        self.folder = folder
        # Hashes of stamps: of a folder with a million photos, 60 MB.
        self._taken = set[int]()
        self._gone = set[int]()  # those of them that the last look did not find
        # Those of other folders at this place: a card that is taken out leaves an empty one.
        self._elsewhere, self._place = set[int](), (0, 0)
        self._waiting = dict[str, tuple[Stamp, float]]()  # and since when it stands still
        self._others = dict[str, str]()  # by kind, the first file that is no photo; empty once told

    def pass_over(self) -> int:
        """Counts what is there as taken; how much that is. Raises OSError."""
        there = [_as_taken(stamp) for _, stamp in self._photos()]
        self._place = self._place_now()
        self._taken = set(there)
        return len(there)

    def look(self) -> list[str]:
        """Which photos have come and stand still, the oldest first. Raises OSError."""
        now, found = time.monotonic(), set[int]()
        waiting = dict[str, tuple[Stamp, float]]()
        photos, place = self._photos(), self._place_now()
        if place != self._place:
            many = len(self._elsewhere) > MOST_ELSEWHERE
            self._elsewhere = self._taken if many else self._elsewhere | self._taken
            self._taken, self._gone, self._place = set(), set(), place
        for name, stamp in photos:
            keys = _keys(stamp)
            if taken := keys & self._taken or keys & self._elsewhere:
                found |= taken
                continue
            before, since = self._waiting.get(name, (None, now))
            waiting[name] = (stamp, since if before == stamp else now)
        # A file may be renamed while the folder is listed, and found under neither name.
        gone = self._taken - found
        self._taken, self._gone = found | (gone - self._gone), gone
        self._waiting = waiting
        ready = [name for name, (_, since) in waiting.items() if now - since >= STILL]
        return sorted(ready, key=lambda name: (waiting[name][0][2], name))

    def waiting(self) -> Collection[str]:
        """The photos that had come at the last look and are not taken yet."""
        return self._waiting.keys()

    def news_of_others(self) -> list[str]:
        """What to tell of kinds of files that are passed over; each once."""
        new = {kind: name for kind, name in self._others.items() if name}
        self._others |= dict.fromkeys(new, "")
        return [
            f"'{shown(name)}' and other files {shown(kind)} in {self.folder} are passed over: "
            f"photos are {', '.join(sorted(SUFFIXES))}"
            for kind, name in new.items()
        ]

    def taken(self, name: str) -> np.ndarray | str | None:
        """The photo, or why it cannot be read; None where it is still being written, or gone.

        Nor is it given where it was under another name of the same file.
        """
        file, (stamp, since) = self.folder / name, self._waiting[name]
        is_settled = time.monotonic() - since >= PATIENCE
        if self._taken & _keys(stamp) or not (is_settled or _has_its_end(file)):
            return None
        is_open = True
        picture: np.ndarray | str
        try:
            picture = np.asarray(load_image(file))
        except UnreadableImageError as error:
            if not is_settled:
                return None
            picture, is_open = str(error), os.access(file, os.R_OK)
        if _stamp(file) != stamp:
            return None
        # What may not be read may be allowed later, without being written anew.
        self._taken.add(_as_taken(stamp) if is_open else hash(stamp))
        del self._waiting[name]
        return picture

    def _place_now(self) -> tuple[int, int]:
        found = self.folder.stat()
        return found.st_dev, found.st_ino

    def _photos(self) -> list[tuple[str, Stamp]]:
        names = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if is_clutter(entry.name):
                    continue
                if Path(entry.name).suffix.lower() in SUFFIXES:
                    names.append(entry.name)
                elif len(self._others) < MOST_KINDS and entry.is_file():
                    self._others.setdefault(of_kind(Path(entry.name)), entry.name)
        stamps = ((name, _stamp(self.folder / name)) for name in names)
        return [(name, stamp) for name, stamp in stamps if stamp]


def _stamp(file: Path) -> Stamp | None:
    """None where there is no file, or none any more."""
    try:
        found = file.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _as_taken(stamp: Stamp) -> int:
    """What a photo is known by once its content was taken."""
    return hash(stamp[:3])


def _keys(stamp: Stamp) -> set[int]:
    return {_as_taken(stamp), hash(stamp)}


def _has_its_end(file: Path) -> bool:
    """False where a file of several pictures does not end as such do; it may be half written.

    Some programs write more behind the end: False too.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            stream.seek(-min(TAIL, stream.seek(0, os.SEEK_END)), os.SEEK_END)
            tail = stream.read(TAIL)
    except OSError:
        return True
    return all(
        tail.rstrip(b"\0").endswith(end) or not head.startswith(start) or mark not in head
        for start, mark, end in SEVERAL
    )
