"""Folders of photos for tests of the album."""

import os
from pathlib import Path

from edge_sharpzo.album import Album, AlbumPhoto

JPEG = b"\xff\xd8\xff"


def write(root: Path, *names: str) -> None:
    """Files that begin as a JPEG, each with its own content."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG + os.fsencode(name))


def tree(root: Path) -> dict[str, bytes]:
    """Every file in a data folder by its path, but the station's own."""
    found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*"))}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.is_file() and not name.startswith(".station/")
    }


def empty_aside(root: Path) -> set[Path]:
    """Folders that nothing lies in, among those set aside."""
    return {
        path
        for path in (root / ".set-aside").rglob("*")
        if path.is_dir() and not any(path.iterdir())
    }


def given(album: Album, *contents: bytes) -> list[Path]:
    """Files that wait to be added."""
    paths = []
    for content in contents:
        paths.append(album.incoming())
        paths[-1].write_bytes(content)
    return paths


def ids(photos: list[AlbumPhoto], *names: str) -> list[str]:
    """Of the photos whose files are called so; of all without names."""
    return [photo.id for photo in photos if not names or photo.path.name in names]


def lies(album: Album) -> dict[str, list[str]]:
    """The files' names by class; `None` and `aside` are background and those set aside."""
    contents = album.contents()
    found = {each.name: [p.path.name for p in each.photos] for each in contents.classes}
    if contents.background:
        found["None"] = [p.path.name for p in contents.background]
    if contents.set_aside:
        found["aside"] = [p.path.name for p in contents.set_aside]
    return found
