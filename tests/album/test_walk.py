"""Steps in any order: whatever is done to a folder of photos can be undone, and none is lost."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from album.places import JPEG, empty_aside, given, tree, write
from edge_sharpzo.album import Added, Album, AlbumPhoto, NameTakenError, NotThereError, steps
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.system.text import as_spoken, folded

pytestmark = pytest.mark.usefixtures("no_flushing")
NAMES = ["cat", "dog", "Kuh", "naïve", "a=b", "red car"]
NOTHING_TO_DO = (
    *(steps.SAME_NAME, steps.IN_CLASS, steps.IN_BACKGROUND, steps.ASIDE, steps.NOT_ASIDE),
    "as it is already: give another one",
)
FEW = 10
WALKS = int(os.environ.get("EDGE_SHARPZO_SEQUENCES", FEW))


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
