"""A process that changes a folder of photos, and dies: by its own hand or by its parent's.

It reads lines of JSON, forks a child for each, and answers how the child ended: at its `kill_at`-th
file operation, after `seconds`, or whole, and after how many operations.
"""

import json
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_sharpzo.album import Album, files
from edge_sharpzo.system.errors import UserError

JPEG = b"\xff\xd8\xff"
CHANGING = (
    "write",
    "mkdir",
    "rmdir",
    "rename",
    "replace",
    "unlink",
    "truncate",
    "ftruncate",
    "fsync",
)


class Counted:
    """Counts what changes files, and dies when there was enough of it; a write is cut in half."""

    def __init__(self, kill_at: int):
        self.count, self.kill_at = 0, kill_at
        for name in CHANGING:
            setattr(os, name, self._counted(getattr(os, name), name))
        rename = files._rename_if_free()
        if rename is not None:
            counted = self._counted(rename, "renameat2")
            files._rename_if_free = lambda: counted  # type: ignore[assignment]

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def maybe(*args: Any, **more: Any) -> Any:
            self.count += 1
            if self.count == self.kill_at:
                if name == "write":
                    call(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return None if name == "fsync" else call(*args, **more)

        return maybe


def add(album: Album, class_name: str | None, *contents: bytes) -> None:
    paths = []
    for content in contents:
        paths.append(album.incoming())
        paths[-1].write_bytes(content)
    album.add(paths, class_name)


def ids(album: Album, class_name: str, count: int) -> list[str]:
    (known,) = (each for each in album.classes() if each.name == class_name)
    return [photo.id for photo in known.photos[:count]]


SCRIPT: list[Callable[[Album], object]] = [
    lambda album: album.new_class("cow"),
    lambda album: add(album, "cow", JPEG + b"a", JPEG + b"b", JPEG + b"a", b"no photo"),
    lambda album: album.move(ids(album, "cat", 2), "dog"),
    lambda album: album.move_to_background(ids(album, "dog", 1)),
    lambda album: album.display("cat", "a tabby"),
    lambda album: album.rename("cat", "tabby"),
    lambda album: album.move_aside(ids(album, "dog", 2)),
    lambda album: album.merge("dog", "tabby"),
    lambda album: album.set_template("so {}"),
    lambda album: album.put_back([photo.id for photo in album.set_aside()][:1]),
    lambda album: album.undo(),
    lambda album: album.undo(),
    lambda album: album.undo(),
    lambda album: album.redo(),
    lambda album: album.move([photo.id for photo in album.background()], "cow"),
]


def follow(root: Path, steps: int) -> None:
    """The first `steps` of the script."""
    with Album.open(root) as album:
        for step in SCRIPT[:steps]:
            step(album)


def wander(root: Path, log: Path, seed: int) -> None:
    """Steps at random, until somebody ends it; photos that were added are in `log`."""
    rng = random.Random(seed)
    with Album.open(root) as album:
        while True:
            with suppress(UserError):  # a name that is taken, nothing to undo
                wander_on(album, log, rng)


def wander_on(album: Album, log: Path, rng: random.Random) -> None:
    contents = album.contents()
    names = [each.name for each in contents.classes] or ["none"]
    photos = [photo.id for photo in contents.photos()]
    chosen, name = rng.sample(photos, min(len(photos), 5)), rng.choice(names)
    kind = rng.randrange(12)
    if kind == 0:
        album.new_class(f"class {rng.randrange(8)}")
    elif kind == 1:
        new = [JPEG + uuid.uuid4().hex.encode() for _ in range(3)]
        add(album, name, *new)
        with log.open("ab") as stream:
            stream.write(b"".join(content[3:] + b"\n" for content in new))
    elif kind == 2:
        album.rename(name, f"class {rng.randrange(8)}")
    elif kind == 3 and len(names) > 3:
        album.merge(name, rng.choice(names))
    elif kind == 4:
        album.display(name, f"name {rng.randrange(9)}")
    elif kind == 5:
        album.move(chosen, name)
    elif kind == 6:
        album.move_to_background(chosen)
    elif kind == 7:
        album.move_aside(chosen)
    elif kind == 8:
        album.put_back(chosen)
    elif kind == 9:
        album.set_template(f"{rng.randrange(9)} {{}}")
    else:
        (album.undo if kind == 10 else album.redo)()


def work(asked: dict[str, Any]) -> Iterator[int]:
    """What a child does; gives how many file operations that were."""
    counted = Counted(asked.get("kill_at", -1))
    root = Path(asked["root"])
    if "log" in asked:
        wander(root, Path(asked["log"]), asked["seed"])
    follow(root, asked["steps"])
    yield counted.count


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            for count in work(asked):
                os.write(writing, str(count).encode())
            os._exit(0)
        os.close(writing)
        if "seconds" in asked:
            time.sleep(asked["seconds"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(
            json.dumps(
                {"code": os.waitstatus_to_exitcode(status), "count": os.read(reading, 20).decode()}
            ),
            flush=True,
        )
        os.close(reading)


if __name__ == "__main__":
    main()
