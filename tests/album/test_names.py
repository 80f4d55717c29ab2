"""Names that classes may have."""

import unicodedata

import pytest

from album.places import ids, lies, tree, write
from edge_sharpzo.album import Album, NameTakenError, NotThereError
from edge_sharpzo.photos.found import find_photos
from edge_sharpzo.system.errors import UserError

pytestmark = pytest.mark.usefixtures("no_flushing")
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
    "what `watch` saves": ["unsure", "Unsure", " UNSURE "],
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
