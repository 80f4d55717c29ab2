"""The shape of the device package: short functions, few parameters, rooms that say what they do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import edge_sharpzo

PACKAGE = Path(edge_sharpzo.__file__).parent
LONGEST, MOST_PARAMETERS = 60, 7

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
            if isinstance(node, Function):
                yield f"{file.relative_to(PACKAGE)}:{node.lineno} {node.name}", node


def parameters(function: Function) -> int:
    """Parameters, `self` and `cls` aside; a bundle of keywords counts as one."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return len([each for each in every if each and each.arg not in ("self", "cls")])


def test_functions_fit_on_a_screen() -> None:
    lengths = {name: (f.end_lineno or 0) - f.lineno + 1 for name, f in functions()}
    assert len(lengths) > 200
    assert {name: n for name, n in lengths.items() if n >= LONGEST} == {}


def test_functions_take_few_parameters() -> None:
    many = {name: n for name, f in functions() if (n := parameters(f)) > MOST_PARAMETERS}
    assert many == {}


def test_every_room_says_in_a_sentence_what_lives_there() -> None:
    rooms = [file for file in PACKAGE.rglob("__init__.py") if file.parent != PACKAGE]
    assert len(rooms) >= 9
    for room in rooms:
        said = ast.get_docstring(ast.parse(room.read_text(encoding="utf8")))
        assert said, room


def test_public_names_are_there() -> None:
    for name in edge_sharpzo.__all__:
        assert getattr(edge_sharpzo, name) is not None
    for room in ("clip", "photos", "album", "tuning", "classifier", "runs"):
        module = __import__(f"edge_sharpzo.{room}", fromlist=["__all__"])
        for name in module.__all__:
            assert getattr(module, name) is not None, f"{room}.{name}"
