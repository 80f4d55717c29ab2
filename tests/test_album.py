"""The album: whatever is done to a folder of photos can be undone, and no photo is ever lost."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_sharpzo.album import (
    Added,
    Album,
    AlbumPhoto,
    DiskFullError,
    InUseError,
    NameTakenError,
    NotThereError,
    files,
    steps,
)
from edge_sharpzo.album.settings import Settings
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.photos.left_out import grouped
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import as_spoken, folded

pytestmark = pytest.mark.usefixtures("no_flushing")

NAMES = ["cat", "dog", "Kuh", "naïve", "a=b", "red car"]
JPEG = b"\xff\xd8\xff"
NOTHING_TO_DO = (
    *(steps.SAME_NAME, steps.IN_CLASS, steps.IN_BACKGROUND, steps.ASIDE, steps.NOT_ASIDE),
    "as it is already: give another one",
)
FEW = 10
WALKS = int(os.environ.get("EDGE_SHARPZO_SEQUENCES", FEW))


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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two photos."""
    write(tmp_path / "data", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/3.png")
    return tmp_path / "data"


@pytest.fixture
def album(root: Path) -> Iterator[Album]:
    with Album.open(root) as album:
        yield album


class Walk(RuleBasedStateMachine):
    """Steps in any order, beside a model that knows which photo is where, and nothing of files."""

    @initialize(split=st.booleans())
    def begin(self, split: bool) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.root = Path(self.place.name)
        for part in ("train/", "val/", "test/") if split else ("",):
            write(self.root, *(f"{part}{name}" for name in ("cat/1.jpg", "cat/tabby/2.jpg")))
            write(self.root, *(f"{part}{name}" for name in ("dog/1.jpg", "_background/1.jpg")))
        self.album = Album.open(self.root)
        self.classes = {"cat": "cat", "dog": "dog"}  # display names
        self.template: str | None = None
        self.where: dict[bytes, tuple[str, ...]] = {}  # class and part, background and part, aside
        for name, content in tree(self.root).items():
            *part, of, _ = name.replace("tabby/", "").split("/")
            home = of if of in self.classes else "_background"
            self.where[content] = (home, part[0] if part else "train")
        self.count = 0
        self.done: list[tuple[Any, Any]] = []  # what was before and behind each step
        self.undone: list[tuple[Any, Any]] = []

    def teardown(self) -> None:
        if hasattr(self, "album"):
            self.album.close()
            self.place.cleanup()

    # The model's side of a step.

    def state(self) -> Any:
        return dict(self.classes), self.template, dict(self.where), tree(self.root)

    def restore(self, state: Any) -> None:
        """What a state does not know was added after it, and is set aside."""
        classes, self.template, where, files_then = state
        self.classes = dict(classes)
        self.where = {photo: where.get(photo, ("aside",)) for photo in self.where}
        now = tree(self.root)
        assert {name: now.get(name) for name in files_then} == files_then  # to the letter

    def took(self, before: Any, outcome: Any) -> None:
        """A step was taken, or there was nothing to do, which is told."""
        assert all(text.endswith(NOTHING_TO_DO) for text in outcome.told)
        assert outcome.step or outcome.told or isinstance(outcome, Added)
        if outcome.step is not None:
            self.done.append((before, self.state()))
            self.undone.clear()
            assert self.album.can_undo() == outcome.step.text

    def taken(self, name: str, but: str | None = None) -> bool:
        others = {each: shown for each, shown in self.classes.items() if each != but}
        return folded(name) in map(folded, [*others, *others.values()])

    def chosen(self, data: Any, aside: bool = False) -> list[AlbumPhoto]:
        photos = [p for p in self.album.contents().photos() if p.aside or not aside]
        if not photos:
            return []
        return list(data.draw(st.lists(st.sampled_from(photos), min_size=1, max_size=4)))

    def a_class(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(sorted(self.classes))))

    # Steps.

    @rule(name=st.sampled_from(NAMES))
    def new_class(self, name: str) -> None:
        before = self.state()
        if self.taken(name):
            with pytest.raises(NameTakenError):
                self.album.new_class(name)
            return
        outcome = self.album.new_class(name)
        self.classes[name] = name
        self.took(before, outcome)

    @precondition(lambda self: self.classes)
    @rule(data=st.data(), to=st.sampled_from([*NAMES, "CAT", "Dog"]))
    def rename(self, data: Any, to: str) -> None:
        before, name = self.state(), self.a_class(data)
        if self.taken(to, but=name):
            with pytest.raises(NameTakenError):
                self.album.rename(name, to)
            return
        outcome = self.album.rename(name, to)
        display = self.classes.pop(name)
        self.classes[to] = to if display == as_spoken(name) else display
        self.where = {p: (to, *w[1:]) if w[0] == name else w for p, w in self.where.items()}
        self.took(before, outcome)

    @precondition(lambda self: len(self.classes) > 1)
    @rule(data=st.data())
    def merge(self, data: Any) -> None:
        before = self.state()
        name, into = data.draw(st.permutations(sorted(self.classes)))[:2]
        outcome = self.album.merge(name, into)
        del self.classes[name]
        self.where = {p: (into, *w[1:]) if w[0] == name else w for p, w in self.where.items()}
        self.took(before, outcome)

    @precondition(lambda self: self.classes)
    @rule(data=st.data(), display=st.sampled_from(["", "a tabby", "dog", "x = y, z: w"]))
    def display(self, data: Any, display: str) -> None:
        before, name = self.state(), self.a_class(data)
        if self.taken(display or name, but=name):
            with pytest.raises(NameTakenError):
                self.album.display(name, display)
            return
        outcome = self.album.display(name, display)
        self.classes[name] = display or as_spoken(name)
        self.took(before, outcome)

    @rule(template=st.sampled_from(["", "a photo of {}.", "{} - so"]))
    def choose_template(self, template: str) -> None:
        before = self.state()
        outcome = self.album.set_template(template)
        self.template = template or None
        self.took(before, outcome)

    @precondition(lambda self: self.classes)
    @rule(data=st.data(), count=st.integers(1, 3), background=st.booleans())
    def add(self, data: Any, count: int, background: bool) -> None:
        before = self.state()
        to = None if background else self.a_class(data)
        new = [JPEG + f"new {self.count + i}".encode() for i in range(count)]
        self.count += count
        there = [photo for photo, where in self.where.items() if where != ("aside",)]
        copies = [*new[:1], *sorted(there)[:1]]
        added = self.album.add(given(self.album, *new, *copies, b"no photo"), to)
        assert (len(added.photos), len(added.copies)) == (count, len(copies))
        assert len(added.refused) == 1
        self.where |= dict.fromkeys(new, (to or "_background", "train"))
        self.took(before, added)

    @precondition(lambda self: self.classes)
    @rule(data=st.data(), to=st.sampled_from(["class", "background", "aside"]))
    def move(self, data: Any, to: str) -> None:
        before, photos = self.state(), self.chosen(data)
        if not photos:
            return
        content = {photo.id: photo.path.read_bytes() for photo in photos}
        if to == "class":
            home = self.a_class(data)
            outcome = self.album.move(list(content), home)
        elif to == "background":
            home = "_background"
            outcome = self.album.move_to_background(list(content))
        else:
            outcome = self.album.move_aside(list(content))
        for photo in photos:
            lies = ("aside",) if to == "aside" else (home, photo.part)
            self.where[content[photo.id]] = lies
        self.took(before, outcome)

    @rule(data=st.data())
    def put_back(self, data: Any) -> None:
        before, photos = self.state(), self.chosen(data, aside=True)
        photos = [p for p in photos if p.class_name is None or p.class_name in self.classes]
        if not photos:
            return
        content = {photo.id: photo.path.read_bytes() for photo in photos}
        outcome = self.album.put_back(list(content))
        for photo in photos:
            if photo.aside:
                self.where[content[photo.id]] = (photo.class_name or "_background", photo.part)
        self.took(before, outcome)

    @rule()
    def undo(self) -> None:
        if not self.done:
            with pytest.raises(NotThereError):
                self.album.undo()
            return
        before, behind = self.done.pop()
        empty = empty_aside(self.root)
        assert self.album.undo().told == []
        assert empty_aside(self.root) <= empty
        self.undone.append((before, behind))
        self.restore(before)

    @rule()
    def redo(self) -> None:
        if not self.undone:
            with pytest.raises(NotThereError):
                self.album.redo()
            return
        before, behind = self.undone.pop()
        assert self.album.redo().told == []
        self.done.append((before, behind))
        self.restore(behind)

    @rule()
    def open_again(self) -> None:
        history = self.album.history()
        self.album.close()
        self.album = Album.open(self.root)
        assert self.album.told == []
        assert self.album.history() == history

    # What holds behind each.

    @invariant()
    def every_photo_is_where_the_model_has_it(self) -> None:
        contents = self.album.contents()
        assert {each.name: each.display for each in contents.classes} == self.classes
        found = {}
        for photo in contents.photos():
            home = photo.class_name or "_background"
            found[photo.path.read_bytes()] = ("aside",) if photo.aside else (home, photo.part)
        assert found == self.where
        assert sorted(tree(self.root).values()) == sorted(self.where)
        assert self.album.template == self.template
        assert len([step for step in self.album.history() if not step.undone]) == len(self.done)
        assert bool(self.album.can_redo()) == bool(self.undone)

    @invariant()
    def a_run_finds_the_same_classes(self) -> None:
        with_photos = {w[0] for w in self.where.values() if w[1:] == ("train",)} & set(self.classes)
        stray = {w[0] for w in self.where.values() if w[1:] == ("val",)} - with_photos
        if len(with_photos) > 1 and not stray - {"_background"}:
            found = find_photos(self.root, self.album.names_file())
            assert dict(zip(found.folders, found.names, strict=True)) == self.classes


Walk.TestCase.settings = settings(
    max_examples=WALKS,
    stateful_step_count=25,
    deadline=None,
    derandomize=WALKS == FEW,
    suppress_health_check=list(HealthCheck),
)
TestWalk = Walk.TestCase


# Names.

REFUSED_NAMES = {
    "nothing": ["", "   ", "___", "\u200b", "...", "!?"],
    "two lines": ["cat\ndog", "a\tb", "a\u2028b", "bell\x07"],
    "unseen marks": ["cat\u202e", "\u2066cat", "ca\u00adt"],
    "no text": ["caf\udce9"],
    "separators": ["a/b", "../cow", "a\\b", "/etc"],
    "no card takes it": ["what?", "a:b", "<b>", 'so "called"', "a|b", "*"],
    "dots": [".cow", ".station", ".set-aside", "..", "cow."],
    "parts": ["train", "Test", "VALIDATION", "testing"],
    "background": ["_background", "_Background", "background", " BACKGROUND "],
    "devices on Windows": ["CON", "nul", "Aux", "com1", "LPT9", "con.photos", "COM\u00b2", "prn "],
    "the other answer": ["none of these", "None Of  These", "none_of_these", "\uff4eone of these"],
    "the system's": ["__MACOSX", "Thumbs.db", "desktop.ini"],
    "too long": ["x" * 81, "\N{GRINNING FACE}" * 60],
}


@pytest.mark.parametrize("kind", REFUSED_NAMES)
def test_names_that_no_class_can_have(kind: str, album: Album) -> None:
    before = tree(album.root), lies(album)
    for name in REFUSED_NAMES[kind]:
        for step in (album.new_class, lambda name: album.rename("cat", name)):
            with pytest.raises(UserError, match="Choose another name") as raised:
                step(name)
            assert raised.value.field == "name"
    assert (tree(album.root), lies(album), album.history()) == (*before, [])


@pytest.mark.parametrize(
    "name",
    [
        "console",
        "com10",
        "none of those",
        "Kühe",
        "赤い車",
        "red car",
        "a=b",
        "a, b",
        "c++",
        "😀",
        "x" * 80,
    ],
)
def test_names_that_a_class_can_have(name: str, album: Album) -> None:
    album.new_class(f" {name} ")
    assert lies(album)[name] == []
    album.move(ids(album.classes()[0].photos), name)
    album.display(name, "what it shows")
    found = find_photos(album.root, album.names_file())
    assert found.names[found.folders.index(name)] == "what it shows"


@pytest.mark.parametrize("name", ["cat", "CAT", "c\uff41t", "hot_dog", "Hot  dog", "hot dog"])
def test_names_that_are_taken(name: str, album: Album) -> None:
    album.display("dog", "hot dog")
    for step in (album.new_class, lambda name: album.rename("dog", name)):
        if step != album.new_class and "og" in name:
            continue  # its own
        with pytest.raises(NameTakenError, match=r"there is a class '(cat|hot dog)' already"):
            step(name)


def test_a_class_may_be_spelt_otherwise_than_before(album: Album) -> None:
    assert album.rename("cat", "Cat").told == []
    assert sorted(lies(album)) == ["Cat", "dog"]
    album.undo()
    assert sorted(lies(album)) == ["cat", "dog"]


def test_composed_and_decomposed_letters_are_one_class(album: Album) -> None:
    """As one system writes them and another; a folder keeps the form that it has."""
    decomposed = unicodedata.normalize("NFD", "Tür")
    write(album.root, f"{decomposed}/1.jpg", f"{decomposed}/2.jpg")
    assert lies(album)[decomposed] == ["1.jpg", "2.jpg"]
    with pytest.raises(NameTakenError):
        album.new_class("Tür")
    album.move(ids(album.classes()[1].photos[:1]), "Tür")
    assert lies(album)[decomposed] == ["1-2.jpg", "1.jpg", "2.jpg"]
    album.rename(decomposed, "Tür")
    assert sorted(lies(album)) == ["Tür", "cat", "dog"]
    album.undo()
    album.undo()
    assert sorted(lies(album)) == sorted([decomposed, "cat", "dog"])


def test_a_name_in_the_way_is_no_class(album: Album) -> None:
    write(album.root, "notes/a.txt", "list")
    for name in ("notes", "list"):
        with pytest.raises(UserError, match="is there already and is no class"):
            album.new_class(name)


@pytest.mark.parametrize("name", ["no", "", "../cat", "/", "cat/", "\udce9", "_background"])
def test_classes_that_are_not_there(name: str, album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    for step in (
        lambda: album.rename(name, "cow"),
        lambda: album.merge(name, "cat"),
        lambda: album.merge("cat", name),
        lambda: album.display(name, "cow"),
        lambda: album.move(chosen, name),
        lambda: album.add([], name),
    ):
        with pytest.raises(NotThereError, match="there is no class"):
            step()
    assert album.history() == []


# Photos.


def test_photos_are_added_under_names_of_their_own(album: Album) -> None:
    png = b"\x89PNG\r\n\x1a\nx"
    added = album.add(
        given(album, JPEG + b"x", png, JPEG + b"x", JPEG + b"cat/1.jpg", b"<html>"), "dog"
    )
    names = [photo.path.name for photo in added.photos]
    assert [Path(name).suffix for name in sorted(names)] in ([".jpg", ".png"], [".png", ".jpg"])
    for name in names:
        date, time, digest = Path(name).stem.split("-")
        assert (len(date), len(time), len(digest)) == (8, 6, 6)
    assert len(added.copies) == 2
    assert [why for _, why in added.refused] == ["no photo: take JPEG, PNG, WebP, GIF, BMP or TIFF"]
    assert list((album.root / ".station" / "incoming").iterdir()) == []
    assert album.can_undo() == "2 photos added to 'dog'"


def test_a_photo_that_was_set_aside_may_come_again(album: Album) -> None:
    first = album.add(given(album, JPEG + b"x"), "dog")
    album.move_aside(ids(first.photos))
    second = album.add(given(album, JPEG + b"x"), "cat")
    assert len(second.photos) == 1
    assert second.copies == []


def test_only_files_that_were_written_to_incoming_are_added(album: Album, tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(JPEG)
    with pytest.raises(ValueError, match="incoming"):
        album.add([tmp_path / "mine.jpg"], "cat")
    assert (tmp_path / "mine.jpg").exists()


def test_photos_stay_in_their_part(tmp_path: Path) -> None:
    names = [f"{part}/{name}" for part in ("train", "Val", "testing") for name in ("cat", "dog")]
    write(tmp_path, *(f"{name}/1.jpg" for name in names), "testing/Cat/2.jpg")
    (tmp_path / "testing" / "cat").rename(tmp_path / "testing" / "old")
    write(tmp_path, "train/old/1.jpg")
    with Album.open(tmp_path) as album:
        cat, dog, _ = album.classes()
        assert [photo.part for photo in cat.photos] == ["train", "val", "test"]
        assert [photo.path.name for photo in cat.photos] == ["1.jpg", "1.jpg", "2.jpg"]
        album.move(ids(cat.photos), "dog")
        files_now = [p.path.relative_to(tmp_path).as_posix() for p in album.classes()[1].photos]
        assert files_now == [
            *("train/dog/1-2.jpg", "train/dog/1.jpg"),
            *("Val/dog/1-2.jpg", "Val/dog/1.jpg", "testing/dog/1.jpg", "testing/dog/2.jpg"),
        ]
        album.move_to_background(ids(dog.photos))
        assert [photo.part for photo in album.background()] == ["train", "val", "test"]
        album.rename("cat", "cow")
        assert sorted(path.name for path in (tmp_path / "testing").iterdir()) == [
            *("_background", "cow", "dog", "old")
        ]


def test_photos_set_aside_follow_their_class(album: Album) -> None:
    cat, dog = album.classes()
    album.move_aside([*ids(cat.photos), *ids(dog.photos)])
    assert sorted(tree(album.root)) == [
        *(".set-aside/cat/1.jpg", ".set-aside/cat/2.jpg"),
        *(".set-aside/dog/1.jpg", ".set-aside/dog/3.png"),
    ]
    album.rename("cat", "tabby")
    album.merge("tabby", "dog")
    assert [photo.class_name for photo in album.set_aside()] == ["dog"] * 4
    album.put_back(ids(album.set_aside()))
    assert sorted(tree(album.root)) == ["dog/1-2.jpg", "dog/1.jpg", "dog/2.jpg", "dog/3.png"]
    while album.can_undo():
        album.undo()
    assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "3.png"]}


def test_a_class_takes_along_whatever_lies_in_its_folders(album: Album) -> None:
    write(album.root, "cat/tabby/1.jpg", "cat/a/b/c/deep.jpg", "cat/.DS_Store", "cat/notes.txt")
    before = tree(album.root)
    assert album.merge("cat", "dog").told == []
    assert not (album.root / "cat").exists()
    assert sorted(tree(album.root).values()) == sorted(before.values())
    album.undo()
    assert tree(album.root) == before


@pytest.mark.parametrize("name", ["1.jpg", "ä" * 125 + ".jpg", "a" * 251 + ".JPG"])
def test_names_that_meet_get_numbers(name: str, album: Album) -> None:
    write(album.root, f"cat/{name}", f"dog/{name}")
    (album.root / "dog" / name).write_bytes(JPEG + b"other")
    chosen = [photo for photo in album.classes()[0].photos if photo.path.name == name]
    assert album.move(ids(chosen), "dog").told == []
    assert len(album.classes()[1].photos) == (3 if name == "1.jpg" else 4)
    album.undo()
    assert name in lies(album)["cat"]


def test_files_whose_names_differ_by_case_alone_go_back_as_they_were(album: Album) -> None:
    write(album.root, "cat/A.jpg", "cat/a.jpg")
    before = tree(album.root)
    album.move(ids(album.classes()[0].photos, "a.jpg"), "dog")
    album.undo()
    assert tree(album.root) == before


def test_names_that_are_no_text(album: Album) -> None:
    write(album.root, os.fsdecode(b"cat/caf\xe9.jpg"), os.fsdecode(b"ca\xe9/1.jpg"))
    contents = album.contents()
    assert [each.name for each in contents.classes] == ["cat", "dog"]
    assert contents.notes == ["ca\\xe9 has a name that is no single line: rename it"]
    album.merge("cat", "dog")
    album.undo()
    album.close()
    album.__init__(album.root)  # type: ignore[misc]
    assert album.redo().told == []
    assert (album.root / os.fsdecode(b"dog/caf\xe9.jpg")).exists()


def _add_aside(album: Album) -> None:
    write(album.root, ".set-aside/unsure/9.jpg")


def _change_aside(album: Album) -> None:
    (album.root / ".set-aside/cow/7.jpg").write_bytes(JPEG + b"other")


def _lose_aside(album: Album) -> None:
    (album.root / ".set-aside/cow/7.jpg").unlink()


@pytest.mark.parametrize("change", [_add_aside, _change_aside, _lose_aside])
def test_what_lies_aside_teaches_nothing(change: Any, album: Album) -> None:
    write(album.root, ".set-aside/cow/7.jpg")
    before = album.contents()
    change(album)
    after = album.contents()
    assert after.teaches == before.teaches == album.teaches()
    assert after.version != before.version


def test_what_teaches_tells_of_every_other_change(album: Album) -> None:
    seen = [album.teaches()]
    album.move_aside(ids(album.classes()[0].photos, "1.jpg"))
    seen.append(album.teaches())
    album.display("cat", "tom cat")
    seen.append(album.teaches())
    album.set_template("a cat or {}")
    seen.append(album.teaches())
    album.new_class("cow")
    seen.append(album.teaches())
    album.move_to_background(ids(album.classes()[-1].photos, "3.png"))
    seen.append(album.teaches())
    assert len(set(seen)) == len(seen)
    for expected in reversed(seen[:-1]):
        album.undo()
        assert album.teaches() == expected


def _circle(link: Path) -> None:
    link.symlink_to(link.name)


def _circle_of_two(link: Path) -> None:
    link.symlink_to("other.jpg")
    link.with_name("other.jpg").symlink_to(link.name)


def _too_long(link: Path) -> None:
    link.symlink_to("n" * 300)


def _below_a_file(link: Path) -> None:
    link.symlink_to("1.jpg/2.jpg")


def _into_nothing(link: Path) -> None:
    link.symlink_to("nothing.jpg")


LINKS = [_circle, _circle_of_two, _too_long, _below_a_file, _into_nothing]


@pytest.mark.parametrize("name", ["0.jpg", "sub/0.jpg", "0", ".0.jpg"])
@pytest.mark.parametrize("make", LINKS)
def test_a_link_that_leads_nowhere_takes_no_class_along(make: Any, name: str, album: Album) -> None:
    for folder in ("cat", ".set-aside/cat"):
        (album.root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        make(album.root / folder / name)
    contents = album.contents()
    assert [len(each.photos) for each in contents.classes] == [2, 2]
    assert contents.notes == []
    found = find_photos(album.root, None)
    assert found.folders == ["cat", "dog"]
    assert album.root / "cat" / name in {file.path for file in found.left_out}
    album.merge("cat", "dog")
    album.undo()
    assert [len(each.photos) for each in album.classes()] == [2, 2]


def test_the_version_tells_of_every_change(album: Album) -> None:
    seen = [album.version()]

    def is_new() -> bool:
        seen.append(album.version())
        return seen[-1] not in seen[:-1]

    assert album.version() == seen[0]
    album.new_class("cow")
    assert is_new()
    album.display("cow", "holy cow")
    assert is_new()
    album.set_template("so {}")
    assert is_new()
    write(album.root, "cat/by-hand.jpg")
    assert is_new()
    os.utime(album.root / "cat" / "1.jpg", ns=(5, 5))
    assert is_new()
    (album.root / "dog" / "1.jpg").unlink()
    assert is_new()


def test_a_photo_by_its_id(album: Album) -> None:
    wanted = album.classes()[0].photos[0]
    assert album.photo(wanted.id) == wanted
    album.move_aside([wanted.id])
    with pytest.raises(NotThereError, match="List them again"):
        album.photo(wanted.id)
    assert album.photo(album.set_aside()[0].id).class_name == "cat"
    for odd in ("", "0" * 16, "../cat/1.jpg"):
        with pytest.raises(NotThereError):
            album.photo(odd)


def _written_over(photo: Path, by: Path) -> None:
    photo.write_bytes(by.read_bytes())


def _renamed_over(photo: Path, by: Path) -> None:
    by.rename(photo)


def _copied_over_with_its_time(photo: Path, by: Path) -> None:
    os.utime(by, ns=(5, 5))
    shutil.copy2(by, photo)


def _exchanged(photo: Path, by: Path) -> None:
    aside = photo.with_name("for a moment")
    photo.rename(aside)
    by.rename(photo)
    aside.rename(by)


def _folders_exchanged(photo: Path, by: Path) -> None:
    _exchanged(photo.parent, by.parent)


@pytest.mark.parametrize(
    "change",
    [
        _written_over,
        _renamed_over,
        _copied_over_with_its_time,
        _exchanged,
        _folders_exchanged,
    ],
)
def test_what_came_into_a_photos_place_is_never_taken_for_it(change: Any, album: Album) -> None:
    photo, by = (album.root / name / "1.jpg" for name in ("cat", "dog"))
    content = by.read_bytes()
    for known in (False, True):  # whether it was listed since
        (old,) = ids(album.classes()[0].photos, "1.jpg")
        if not known:
            change(photo, by)
        else:
            os.utime(photo, ns=(7, 7))
            assert album.contents()
        with pytest.raises(NotThereError, match="replaced"):
            album.photo(old)
        before = tree(album.root)
        for move in (album.move_aside, album.move_to_background, album.put_back):
            with pytest.raises(NotThereError, match="nothing was moved"):
                move([old])
        assert tree(album.root) == before
    (new,) = ids(album.classes()[0].photos, "1.jpg")
    assert album.photo(new).path == photo
    assert photo.read_bytes() == content
    assert album.move_aside([old, new]).told == [
        "1 photo that you chose: no longer there, or replaced by another"
    ]
    album.undo()
    assert ids(album.classes()[0].photos, "1.jpg") == [new]


def test_photos_that_are_not_there_are_told(album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    outcome = album.move([*chosen, "0" * 16], "dog")
    assert outcome.told == ["1 photo that you chose: no longer there, or replaced by another"]
    assert album.can_undo() == "2 photos moved to 'dog'"
    with pytest.raises(NotThereError, match="none of these photos is there any more"):
        album.move_aside(chosen)
    there = ids(album.classes()[1].photos)
    assert (album.move(there, "dog").step, album.put_back(there).step) == (None, None)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            lambda album, photos: album.move(photos["dog"], "dog"),
            "dog/1.jpg, dog/3.png: in that class",
        ),
        (lambda album, photos: album.move_to_background(photos[None]), "among those of none"),
        (
            lambda album, photos: album.move_aside(photos["aside"]),
            "set aside already: put them back",
        ),
        (
            lambda album, photos: album.put_back(photos["dog"]),
            "not put back, since they are not set",
        ),
        (
            lambda album, photos: album.put_back(photos[None]),
            "not put back, since they are not set",
        ),
        (
            lambda album, _: album.rename("dog", "dog"),
            "'dog': called so already: give another name",
        ),
        (lambda album, _: album.display("dog", " dog "), "'dog': called so already"),
        (lambda album, _: album.display("cat", "tabby"), "'cat': called so already"),
        (lambda album, _: album.set_template("a {}"), "the template: as it is already"),
    ],
)
def test_what_has_nothing_to_do_says_so_and_is_no_step(step: Any, told: str, album: Album) -> None:
    write(album.root, "_background/b.jpg", ".set-aside/dog/9.jpg")
    album.display("cat", "tabby")
    album.set_template("a {}")
    contents = album.contents()
    photos = {None: ids(contents.background), "aside": ids(contents.set_aside)}
    photos |= {each.name: ids(each.photos) for each in contents.classes}
    before = tree(album.root), album.history()
    outcome = step(album, photos)
    assert outcome.step is None
    assert told in outcome.told[0]
    assert (tree(album.root), album.history()) == before


def test_what_of_a_step_was_so_already_is_told(album: Album) -> None:
    cat, dog = (ids(each.photos) for each in album.classes())
    assert album.move([*cat[:1], *dog[:1]], "dog").told == [f"dog/1.jpg: {steps.IN_CLASS}"]
    assert album.can_undo() == "1 photo moved to 'dog'"


def test_undo_leaves_no_empty_folder_aside(root: Path) -> None:
    """Such as those of a mark of an empty folder, wherever it lay, and of photos put back."""
    for mark in ("cow/.gitkeep", "pig/a/b/.keep", "pig/c/Thumbs.db"):
        write(root, mark)
    (root / ".set-aside" / "cow").mkdir(parents=True)
    with Album.open(root) as album:
        cat = ids(album.classes()[0].photos)
        before = tree(root)
        for step in (
            lambda: album.remove_class("cow"),
            lambda: album.remove_class("pig"),
            lambda: album.move_aside(cat),
            lambda: album.add(given(album, JPEG + b"new"), "dog"),
        ):
            step()
            album.undo()
            album.redo()
            album.undo()
            assert empty_aside(root) == set()
        left = {name: content for name, content in tree(root).items() if ".set-aside" not in name}
        assert left == before
        album.move_aside(cat)
        album.put_back(ids(album.set_aside(), "1.jpg", "2.jpg"))
        assert empty_aside(root) == set()
        album.undo()
        assert [photo.path.name for photo in album.set_aside()][:2] == ["1.jpg", "2.jpg"]


# What hands do meanwhile.


def test_a_photo_that_is_gone_at_undo_is_told(album: Album) -> None:
    album.move(ids(album.classes()[0].photos), "dog")
    (album.root / "dog" / "2.jpg").unlink()
    assert album.undo().told == ["dog/2.jpg: no longer there"]
    assert lies(album) == {"cat": ["1.jpg"], "dog": ["1.jpg", "3.png"]}
    album.redo()
    assert lies(album) == {"cat": [], "dog": ["1-2.jpg", "1.jpg", "3.png"]}


def test_what_lies_in_the_place_of_a_photo_stays(album: Album) -> None:
    album.move(ids(album.classes()[0].photos), "dog")
    (album.root / "cat" / "2.jpg").write_bytes(b"by hand")
    assert album.undo().told == []
    assert (album.root / "cat" / "2.jpg").read_bytes() == b"by hand"
    assert (album.root / "cat" / "2-2.jpg").read_bytes() == JPEG + b"cat/2.jpg"


def test_a_class_that_is_there_again_is_joined(album: Album) -> None:
    album.rename("cat", "tabby")
    write(album.root, "cat/1.jpg")
    (album.root / "cat" / "1.jpg").write_bytes(b"by hand")
    album.undo()
    assert lies(album)["cat"] == ["1-2.jpg", "1.jpg", "2.jpg"]
    assert (album.root / "cat" / "1.jpg").read_bytes() == b"by hand"


def test_a_class_that_is_gone(album: Album) -> None:
    album.rename("cat", "tabby")
    album.display("tabby", "a tabby")
    (album.root / "tabby").rename(album.root.parent / "away")
    assert album.names_file() is None
    album.undo()
    assert album.undo().told == ["tabby: no longer there"]
    assert lies(album) == {"dog": ["1.jpg", "3.png"]}


def test_a_new_class_that_got_photos_stays(album: Album) -> None:
    album.new_class("cow")
    write(album.root, "cow/1.jpg")
    assert album.undo().told == ["cow: not removed, since something lies there"]
    assert lies(album)["cow"] == ["1.jpg"]
    assert album.can_undo() is None


def _no_place_aside(album: Album, away: Path) -> Any:
    (album.root / ".set-aside").symlink_to(away)
    return album.move_aside(ids(album.classes()[0].photos, "1.jpg"))


def _no_rename(album: Album, _: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", _refuse)
        return album.rename("cat", "tabby")


def _no_photo_in(album: Album, _: Path) -> Any:
    new = given(album, JPEG + b"new")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", _refuse)
        return album.add(new, "dog")


def _no_template(album: Album, _: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "set_template", _refuse)
        return album.set_template("two {}")


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("step", [_no_place_aside, _no_rename, _no_photo_in, _no_template])
def test_a_step_of_which_nothing_was_done_is_none(step: Any, album: Album, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    album.set_template("one {}")
    album.new_class("cow")
    album.undo()
    before = tree(album.root), album.history(), album.can_undo(), album.can_redo()
    outcome = step(album, away)
    assert outcome.step is None
    assert outcome.told
    assert list(away.iterdir()) == []

    def now() -> tuple[object, ...]:
        return tree(album.root), album.history(), album.can_undo(), album.can_redo()

    assert now() == before
    album.close()
    (album.root / ".set-aside").unlink(missing_ok=True)
    album.__init__(album.root)  # type: ignore[misc]
    assert (now(), album.told) == (before, [])
    assert album.redo().told == []
    assert lies(album)["cow"] == []


def test_a_step_of_which_a_part_was_done_is_one(album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    (album.root / "dog" / "2.jpg").mkdir()
    real = files.move
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "move", lambda s, t: _refuse() if s.name == "1.jpg" else real(s, t))
        outcome = album.move(chosen, "dog")
    assert outcome.step is not None
    assert outcome.told == ["cat/1.jpg: failed (Input/output error)"]
    album.undo()
    assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "3.png"]}


@pytest.mark.parametrize("gone", ["deleted", "link", "file"])
def test_the_place_of_photos_that_come_in(gone: str, album: Album, tmp_path: Path) -> None:
    place = album.root / ".station" / "incoming"
    place.rmdir()
    if gone == "deleted":
        assert len(album.add(given(album, JPEG + b"1", JPEG + b"2"), "cat").photos) == 2
        return
    if gone == "link":
        place.symlink_to(tmp_path)
    else:
        place.write_text("mine")
    with pytest.raises(UserError, match="incoming is no folder, or a link to one: move it away"):
        album.incoming()


def test_the_stations_folder_that_is_gone_is_named(album: Album) -> None:
    (album.root / ".station").rename(album.root / "elsewhere")
    with pytest.raises(UserError, match=r"\.station was moved or deleted: put it back, or start"):
        album.incoming()
    assert not (album.root / ".station").exists()


@pytest.mark.parametrize(
    "operation",
    [
        ["name", "cat", None, "\ud800"],
        ["name", "cat", "a\udfff", None],
        ["name", "\udbff", None, "tabby"],
        ["template", "\ud83d {}", None],
        ["template", None, "{} \udc80"],
        ["move", "cat/\ud800.jpg", "dog/4.jpg"],
        ["make", "\udc00"],
        ["remove", "cat/\udfff"],
    ],
)
def test_steps_of_a_journal_that_are_no_text(operation: list[Any], root: Path) -> None:
    own = root / ".station"
    own.mkdir()
    step = {"id": 1, "time": "", "text": "by hand", "undoes": None, "redoes": None}
    lines = [json.dumps({**step, "operations": [operation]}), '{"done": 1, "skipped": []}']
    (own / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))
    before = tree(root)
    with Album.open(root) as album:
        assert "cannot be read" in album.told[0]
        assert (album.history(), album.can_undo()) == ([], None)
        with pytest.raises(NotThereError):
            album.undo()
    assert tree(root) == before


def test_photos_whose_class_is_gone_are_put_back_nowhere(album: Album) -> None:
    album.move_aside(ids(album.classes()[0].photos))
    (album.root / "cat").rmdir()
    outcome = album.put_back(ids(album.set_aside()))
    assert outcome.step is None
    assert outcome.told == [
        "cat/1.jpg, cat/2.jpg: not put back, since their class is no longer there: "
        "move them to a class"
    ]
    album.move(ids(album.set_aside()), "dog")
    assert lies(album) == {"dog": ["1-2.jpg", "1.jpg", "2.jpg", "3.png"]}


def test_two_folders_of_one_part_are_told_until_they_are_one(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg")
    with Album.open(tmp_path) as album:
        write(tmp_path, "training/cow/1.jpg")
        for step in (album.contents, lambda: album.new_class("cow")):
            with pytest.raises(UserError, match="both hold the train photos"):
                step()
        (tmp_path / "training").rename(tmp_path / "old")
        album.new_class("cow")


@pytest.mark.parametrize("target", ["class", "part", "file", "dangling"])
def test_nothing_changes_behind_a_link(target: str, tmp_path: Path) -> None:
    root, away = tmp_path / "data", tmp_path / "away"
    write(away, "cow/1.jpg", "cow/2.jpg")
    write(root, "train/cat/1.jpg", "train/dog/1.jpg")
    if target == "class":
        (root / "train" / "cow").symlink_to(away / "cow")
    elif target == "part":
        (root / "val").symlink_to(away)
    else:
        (root / "train" / "cow").mkdir()
        for name in ("1.jpg", "2.jpg"):
            (root / "train" / "cow" / name).symlink_to(
                away / ("cow" if target == "file" else "x") / name
            )
    with Album.open(root) as album:
        before, shown = tree(away), lies(album)
        if target == "dangling":
            assert album.contents().notes == ["train/cow holds no photos and is no class"]
            return
        assert shown["cow"] == ["1.jpg", "2.jpg"]
        _, cow, _ = album.classes()
        outcome = album.move_aside(ids(cow.photos))
        assert outcome.step is None
        assert "since they are links or lie behind one" in outcome.told[0]
        if target in ("class", "part"):
            with pytest.raises(UserError, match="Change it where it lies"):
                album.rename("cow", "bull")
            with pytest.raises(UserError, match="Change it where it lies"):
                album.merge("cat", "cow")
        else:
            album.rename("cow", "bull")
            album.undo()
        assert (tree(away), lies(album)) == (before, shown)


def test_a_folder_that_became_a_link_before_an_undo(album: Album, tmp_path: Path) -> None:
    album.move(ids(album.classes()[0].photos), "dog")
    (album.root / "cat").rmdir()
    (album.root / "cat").symlink_to(tmp_path)
    assert "links or lie behind one" in album.undo().told[0]
    assert not (tmp_path / "1.jpg").exists()


@pytest.mark.parametrize("name", [".station", ".station/incoming", ".set-aside"])
def test_own_folders_are_no_links(name: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(tmp_path / "away")
    with pytest.raises(UserError, match="no folder, or a link to one: move it away"):
        Album.open(root)
    assert list((tmp_path / "away").iterdir()) == []


def test_settings_that_a_hand_broke(album: Album) -> None:
    own = album.root / ".station"
    (own / "class-names.txt").write_text("cat\n")
    (own / "settings.json").write_text("[1")
    assert len(album.contents().notes) == 1
    with pytest.raises(UserError, match=r"class-names.txt, line 1: expected 'folder = name'"):
        album.display("cat", "x")
    (own / "class-names.txt").write_text("cat = by hand\n")
    with pytest.raises(UserError, match=r"settings.json cannot be read"):
        album.set_template("x {}")
    album.rename("cat", "tabby")
    assert album.classes()[1].display == "by hand"


def test_a_data_folder_that_is_gone(album: Album) -> None:
    chosen = ids(album.classes()[0].photos)
    album.new_class("cow")
    album.root.rename(album.root.parent / "away")
    for step in (
        *(album.contents, album.names_file, album.undo, lambda: album.move_aside(chosen)),
        *(lambda: album.new_class("pig"), lambda: album.merge("cat", "dog")),
    ):
        with pytest.raises(UserError, match=r"Check the path|moved or deleted"):
            step()
    (album.root.parent / "away").rename(album.root)
    album.new_class("pig")


# The journal.

BAD_LINES = {
    "no JSON": "{",
    "no entry": "[]",
    "outside": '{"id": 7, "time": "", "text": "", "undoes": null, "redoes": null,'
    ' "operations": [["move", "cat/1.jpg", "../../x.jpg"]]}',
    "absolute": '{"id": 7, "time": "", "text": "", "undoes": null, "redoes": null,'
    ' "operations": [["move", "/etc/passwd", "cat/x.jpg"]]}',
    "unknown": '{"id": 7, "time": "", "text": "", "undoes": null, "redoes": null,'
    ' "operations": [["delete", "cat/1.jpg"]]}',
    "numbers": '{"id": 7, "time": 1, "text": 2, "undoes": [], "redoes": null, "operations": []}',
    "the end of nothing": '{"done": 12, "skipped": []}',
    "deep": "[" * 5000 + "]" * 5000,
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_lines_of_the_journal_that_are_none_of_ours(case: str, root: Path) -> None:
    with Album.open(root) as album:
        album.new_class("cow")
    with (root / ".station" / "journal.jsonl").open("a") as stream:
        stream.write(BAD_LINES[case] + "\n")
    before = tree(root)
    with Album.open(root) as album:
        assert "1 lines of the journal" in album.told[0]
        assert tree(root) == before
        album.undo()
        assert "cow" not in lies(album)


@pytest.mark.parametrize("cut", [1, 2, 15, 40])
def test_a_line_that_was_not_written_whole(cut: int, root: Path) -> None:
    with Album.open(root) as album:
        album.new_class("cow")
        album.new_class("pig")
    journal = root / ".station" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    with Album.open(root) as album:
        assert sorted(lies(album)) == ["cat", "cow", "dog", "pig"]
        assert [step.undone for step in album.history()] in ([False, False], [False])
        album.new_class("hen")
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_a_journal_that_is_moved_away_while_it_is_open(album: Album) -> None:
    album.new_class("cow")
    (album.root / ".station").rename(album.root.parent / "away")
    with pytest.raises(UserError, match="was moved or deleted: put it back"):
        album.new_class("pig")
    assert "pig" not in lies(album)


# Disks that are full, or may not be written to.


class Failing:
    """The n-th file operation from now on fails, and those behind it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int):
        self.left, self.code = -1, code
        for owner, name in (
            (os, "write"),
            (os, "mkdir"),
            (os, "fsync"),
            (os, "rename"),
            (os, "rmdir"),
        ):
            monkeypatch.setattr(owner, name, self._failing(getattr(owner, name)))
        monkeypatch.setattr(files, "_rename_if_free", lambda: None)

    def _failing(self, call: Any) -> Any:
        def maybe(*args: Any, **more: Any) -> Any:
            if self.left == 0:
                if call.__name__ == "write":
                    call(args[0], bytes(args[1])[:7])  # a part of it is there
                raise OSError(self.code, os.strerror(self.code))
            self.left -= 1
            return call(*args, **more)

        return maybe


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("number", range(9))
def test_a_disk_that_fails_at_any_operation_loses_nothing(
    code: int, number: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, code)
    refusal = DiskFullError if code in (errno.ENOSPC, errno.EDQUOT) else UserError
    with Album.open(root) as album:
        album.add(given(album, JPEG + b"0"), "cat")
        album.move_aside(ids(album.classes()[0].photos[:1]))
        before, photos = tree(root), sorted(tree(root).values())
        for step in (
            lambda: album.merge("cat", "dog"),
            lambda: album.move_aside(ids(album.classes()[-1].photos)),
            lambda: album.rename(album.classes()[0].name, "cow"),
            album.undo,
        ):
            failing.left = number
            try:
                told = step().told
            except refusal:
                assert tree(root) == before
            else:
                assert told == [] or os.strerror(code) in told[0]
            failing.left = -1
            assert sorted(tree(root).values()) == photos
            before = tree(root)
    with Album.open(root) as album:
        assert sorted(tree(root).values()) == photos
        for line in (root / ".station" / "journal.jsonl").read_text().splitlines():
            json.loads(line)
        while album.can_undo():
            album.undo()
        assert sorted(tree(root).values()) == photos


def test_an_end_that_found_no_room_is_written_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was not done: undoing must not move what lies there instead."""
    append, move, full = files.append, files.move, [True]

    def no_room_for_ends(handle: int, line: bytes) -> None:
        if full[0] and line.startswith(b'{"done"'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(handle, line)

    def by_hand(source: Path, target: Path) -> None:
        if source.name == "1.jpg":
            return move(source, target)
        target.write_bytes(b"by hand")
        raise FileExistsError

    monkeypatch.setattr(files, "append", no_room_for_ends)
    with Album.open(root) as album:
        with monkeypatch.context() as patch:
            patch.setattr(files, "move", by_hand)
            told = album.move(ids(album.classes()[0].photos), "dog").told
        assert told == ["cat/2.jpg: not moved, since there is another of that name now"]
        with pytest.raises(DiskFullError):
            album.new_class("cow")
        full[0] = False
        album.new_class("cow")
    with Album.open(root) as album:
        assert album.told == album.undo().told == album.undo().told == []
        assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "2.jpg", "3.png"]}
        assert (root / "dog" / "2.jpg").read_bytes() == b"by hand"


@pytest.mark.parametrize("number", range(4))
def test_a_disk_that_is_full_while_photos_are_added(
    number: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(monkeypatch, errno.ENOSPC)
    with Album.open(root) as album:
        waiting = given(album, JPEG + b"0", JPEG + b"1")
        failing.left = number
        with pytest.raises(UserError, match=r"full|cannot be kept"):
            album.add(waiting, "cat")
        failing.left = -1
        assert lies(album) == {"cat": ["1.jpg", "2.jpg"], "dog": ["1.jpg", "3.png"]}
        assert list((root / ".station" / "incoming").iterdir()) == []
        assert len(album.add(given(album, JPEG + b"0", JPEG + b"1"), "cat").photos) == 2


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to(
    code: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(UserError, match=f"cannot write to .*{os.strerror(code)}") as raised:
        Album.open(root)
    assert raised.value.field == "data"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else(root: Path) -> None:
    root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="cannot write to"):
        Album.open(root)


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_what_is_no_folder(kind: str, tmp_path: Path) -> None:
    if kind == "a file":
        (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="is not a folder: give `data`"):
        Album.open(tmp_path / "data")


@pytest.mark.parametrize("has", [True, False])
def test_a_rename_takes_no_other_files_place(
    has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a kernel that looks and renames in one, and without."""
    if not has:
        monkeypatch.setattr(files, "_rename_if_free", lambda: None)
    write(tmp_path, "a/1.jpg", "b/1.jpg", "c/2.jpg")
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    for source, target in (
        ("a/1.jpg", "b/1.jpg"),
        ("a", "b"),
        ("a", "empty"),
        ("a/1.jpg", "empty"),
    ):
        with pytest.raises(FileExistsError):
            files.move(tmp_path / source, tmp_path / target)
    with pytest.raises(FileNotFoundError):
        files.move(tmp_path / "no", tmp_path / "new")
    assert tree(tmp_path) == before
    files.move(tmp_path / "c", tmp_path / "d")
    assert sorted(tree(tmp_path)) == ["a/1.jpg", "b/1.jpg", "d/2.jpg"]


# Two at once.

HOLDER = """
import sys
from pathlib import Path
from edge_sharpzo.album import Album
album = Album.open(Path(sys.argv[1]))
album.announce("http://127.0.0.1:8080")
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_of_the_first(root: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(InUseError) as raised:
            Album.open(root)
        assert f"in use by process {first.pid} at http://127.0.0.1:8080: go there" in str(
            raised.value
        )
        first.kill()
    Album.open(root).close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process": "x"}', '{"process": 1}', "\xff"])
def test_a_first_process_that_told_nothing_of_itself(text: str, album: Album) -> None:
    (album.root / ".station" / "lock").write_bytes(text.encode("latin1"))
    with pytest.raises(InUseError, match="in use by another process"):
        Album.open(album.root)


# What runs make of it.


def test_runs_pass_over_what_is_the_stations_and_tell_of_photos_set_aside(album: Album) -> None:
    album.move_aside(ids(album.classes()[0].photos[:1]))
    album.display("cat", "a cat")
    write(album.root, ".set-aside/cat/notes.txt", ".git/x.jpg")
    found = find_photos(album.root)
    assert {group.reason: group.files for group in grouped(found.left_out)} == {
        "that were set aside": 1,
        "of the kind .txt": 1,
        "that are hidden or the system's": 1,
    }
    assert len(found.photos) == 3


@pytest.mark.parametrize("part", ["train", "test", ""])
def test_a_part_whose_last_photo_is_set_aside_stays_one(part: str, tmp_path: Path) -> None:
    places = {"train", "test"} if part else {""}
    write(tmp_path, *(f"{p}/{name}/1.jpg".lstrip("/") for p in places for name in ("cat", "dog")))
    with Album.open(tmp_path) as album:
        chosen = [p for each in album.classes() for p in each.photos if part in ("", p.part)]
        album.move_aside(ids(chosen))
        assert [each.name for each in album.classes()] == ["cat", "dog"]
        album.put_back(ids(album.set_aside()))
        assert [len(each.photos) for each in album.classes()] == [len(places)] * 2


def test_an_empty_folder_is_a_beginning(tmp_path: Path) -> None:
    with Album.open(tmp_path) as album:
        assert lies(album) == {}
        album.new_class("cat")
        album.add(given(album, JPEG), None)
        assert sorted(lies(album)) == ["None", "cat"]
