"""Models in 8 bits: one run multiplies in integers throughout, or in floating point."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import invoke, run_tune

from edge_sharpzo.clip import ClipOnnx
from edge_sharpzo.clip.session import Feeds, Session
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines import opening, service
from edge_sharpzo.engines.address import Address, addresses
from edge_sharpzo.engines.fleet_worker import _session
from edge_sharpzo.engines.served import ECHO, NONCE, SHA256, Companion
from edge_sharpzo.engines.service import Service
from edge_sharpzo.engines.transport import FaultError
from edge_sharpzo.engines.verdict import no_such_model
from edge_sharpzo.system.errors import UserError

FEW = ("--shots", 6, "--budget", 200, "--json")
CMA = (*FEW, "--method", "cma-es")  # which may multiply in integers
INTEGER, FLOAT, AWAY = "a:1/clip", "b:2/clip", "c:3/clip"
Patched = pytest.MonkeyPatch


def processor(exact: bool, patched: Patched) -> None:
    """This one sums products of bytes exactly from now on, or does not."""
    patched.setattr("edge_sharpzo.clip.clip_file.sums_bytes_exactly", lambda: exact)


class Endpoint:
    """A transport to a model that was served on a processor of one kind or the other."""

    def __init__(self, clip: ClipOnnx, towers: dict[str, Any], address: Address):
        self._clip, self._address = clip, address
        self._towers = towers if f"{address}/clip" == INTEGER else {"text": towers["text"]}
        self._away = f"{address}/clip" == AWAY

    def _known(self, model: str) -> str:
        if self._away:
            raise FaultError("connection refused")
        served = model.removeprefix("clip-")
        if served not in {*self._towers, "card"}:
            raise no_such_model(self._address, model, "not found")
        return served

    def tensors(self, model: str, seconds: float) -> tuple[dict[str, str], dict[str, str]]:  # noqa: ARG002
        self._known(model)
        return {"ctx": "FP32"}, {"text_features": "FP32"}

    def infer(
        self,
        model: str,
        feeds: Feeds,
        outputs: Sequence[str],
        seconds: float,  # noqa: ARG002
    ) -> dict[str, np.ndarray]:
        served, (output, *_) = self._known(model), outputs
        given = {name: array for name, array in feeds.items() if name != NONCE}
        if served == "card":
            found = Companion.of(self._clip).to_array()
        else:
            (found,) = self._towers[served].run_all([given])
        sha256 = np.frombuffer(bytes.fromhex(self._clip.sha256), np.uint8)
        return {output: found, SHA256: sha256, ECHO: feeds[NONCE]}


@pytest.fixture
def connected(eight_bits: Path, monkeypatch: Patched) -> Callable[[Address], Endpoint]:
    """Makes transports to `INTEGER` and `FLOAT`; `tune --engine` takes them, too."""
    monkeypatch.setattr(service, "AT_START", 0.1)
    clip = ClipOnnx(eight_bits)
    with pytest.MonkeyPatch.context() as patched:
        processor(True, patched)
        towers = {
            name: clip.session(Tower.TEXT, name != "text") for name in ("text", "text-integer")
        }
    made = partial(Endpoint, clip, towers)
    monkeypatch.setattr(opening, "Service", partial(Service, connected=made))
    return made


def engine(*places: str) -> tuple[str, str]:
    return "--engine", f"kserve://{','.join(places)}" if places else "local"


def in_integers(run: Path) -> list[str]:
    found: list[str] = json.loads((run / "config.json").read_text())["in_integers"]
    return found


def history(run: Path) -> str:
    return (run / "history.jsonl").read_text()


@pytest.mark.parametrize(
    ("places", "towers", "lacking"),
    [
        ([INTEGER], ["image", "text"], None),
        ([FLOAT], ["image"], None),
        ([INTEGER, FLOAT], ["image"], "b:2 serves no 'clip-text-integer' as a:1 does"),
        ([FLOAT, INTEGER], ["image"], "b:2 serves no 'clip-text-integer' as a:1 does"),
        ([INTEGER, AWAY], ["image", "text"], None),
        ([AWAY, FLOAT], ["image"], None),
    ],
)
@pytest.mark.usefixtures("connected")
def test_integers_are_for_endpoints_that_all_have_them(
    places: list[str],
    towers: list[str],
    lacking: str | None,
    eight_bits: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: Patched,
) -> None:
    """The history is that of a run here whose text tower does the same; photos are encoded here."""
    processor(True, monkeypatch)
    result = run_tune(eight_bits, photos, tmp_path / "run", *CMA, *engine(*places))
    assert result.exit_code == 0, result.output
    assert in_integers(tmp_path / "run") == towers
    assert ("serves no" in result.stderr) == (lacking is not None)
    assert lacking is None or lacking in " ".join(result.stderr.split())
    opened = ClipOnnx.session

    def as_there(clip: ClipOnnx, tower: Tower, integer: bool = False) -> Session:
        return opened(clip, tower, integer and tower in towers)

    monkeypatch.setattr(ClipOnnx, "session", as_there)
    assert run_tune(eight_bits, photos, tmp_path / "local", *CMA).exit_code == 0
    assert history(tmp_path / "run") == history(tmp_path / "local")


Here = bool  # a run here, on a processor that sums exactly or not
Place = Here | list[str]
GOES_ON: list[tuple[Place, Place, str]] = [
    (True, True, ""),
    (False, False, ""),
    ([INTEGER], True, ""),
    (True, [INTEGER], ""),
    ([FLOAT], [FLOAT, INTEGER], ""),
    ([INTEGER], [FLOAT], "in integers when the run was started, and would be in floating point"),
    ([INTEGER], [INTEGER, FLOAT], "and would be in floating point here (text tower)"),
    ([FLOAT], [INTEGER], "would be in integers here (text tower)"),
    ([FLOAT, INTEGER], True, "would be in integers here (text tower)"),
    (True, [FLOAT], "would be in floating point here (text tower)"),
    (True, False, "would be in floating point here (image, text tower)"),
    (False, True, "would be in integers here (image, text tower)"),
]


def begun(
    place: Place, model: Path, photos: Path, run: Path, patched: Patched, options: Sequence[object]
) -> None:
    """A run that was killed before its end."""
    processor(place is not False, patched)
    where = engine(*place) if isinstance(place, list) else ()
    result = run_tune(model, photos, run, *options, *where)
    assert result.exit_code == 0, result.output
    (run / "summary.json").unlink()


def resumed(place: Place, run: Path, patched: Patched) -> Any:
    processor(place is not False, patched)
    where = engine(*place) if isinstance(place, list) else engine()
    return invoke("tune", "--resume", run, *where)


@pytest.mark.parametrize(("before", "now", "why"), GOES_ON)
@pytest.mark.usefixtures("connected")
def test_a_run_goes_on_with_the_towers_that_it_began_with(
    before: Place,
    now: Place,
    why: str,
    eight_bits: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: Patched,
) -> None:
    run = tmp_path / "run"
    begun(before, eight_bits, photos, run, monkeypatch, CMA)
    wanted = history(run)
    result = resumed(now, run, monkeypatch)
    assert result.exit_code == (2 if why else 0), result.output
    told = " ".join(result.stderr.split())
    assert why in told
    assert "go on with it where it was started" in told or not why
    assert history(run) == wanted


@pytest.mark.parametrize(
    ("model", "options", "why"),
    [
        ("tiny_onnx", CMA, ""),  # weights in float32
        ("tiny_onnx", FEW, ""),
        # Finite differences are taken in floating point anywhere, photos are not.
        ("eight_bits", FEW, "would be in floating point here (image tower)"),
    ],
)
def test_the_other_processor_matters_to_what_multiplies_bytes(
    model: str,
    options: Sequence[object],
    why: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: Patched,
    request: pytest.FixtureRequest,
) -> None:
    run = tmp_path / "run"
    begun(True, request.getfixturevalue(model), photos, run, monkeypatch, options)
    result = resumed(False, run, monkeypatch)
    assert result.exit_code == (2 if why else 0), result.output
    assert why in " ".join(result.stderr.split())


def test_a_run_of_before_that_did_not_say_goes_on(
    eight_bits: Path, photos: Path, tmp_path: Path, monkeypatch: Patched
) -> None:
    run = tmp_path / "run"
    begun(True, eight_bits, photos, run, monkeypatch, CMA)
    config = json.loads((run / "config.json").read_text())
    assert config.pop("in_integers") == ["image", "text"]
    (run / "config.json").write_text(json.dumps(config))
    result = resumed(True, run, monkeypatch)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("places", [(INTEGER, FLOAT), (FLOAT, INTEGER), (FLOAT, AWAY, INTEGER)])
def test_photos_are_not_encoded_by_both_kinds(
    places: tuple[str, ...], connected: Callable[[Address], Endpoint]
) -> None:
    there = Service(addresses(engine(*places)[1]), lambda *_: None, connected)
    with pytest.raises(UserError, match="a:1 would encode photos in integers and b:2 in floating"):
        there.session(Tower.IMAGE, True, "0" * 64, lambda feeds: (1, 1))


def test_a_worker_that_cannot_multiply_as_the_run_does_says_so(
    eight_bits: Path, monkeypatch: Patched
) -> None:
    for exact in (True, False):
        processor(exact, monkeypatch)
        _session.cache_clear()
        assert _session(eight_bits, "text", False, 1)
        if exact:
            assert _session(eight_bits, "text", True, 1)
        else:
            with pytest.raises(UserError, match="multiplies 8-bit integers"):
                _session(eight_bits, "text", True, 1)
    _session.cache_clear()


def test_the_cache_tells_photos_in_integers_from_others(
    eight_bits: Path, tiny_onnx: Path, monkeypatch: Patched
) -> None:
    engines = []
    for exact in (True, False):
        processor(exact, monkeypatch)
        engines.append([ClipOnnx(model).image_engine for model in (eight_bits, tiny_onnx)])
    (eight, plain), (eight_float, plain_again) = engines
    assert eight != eight_float == plain == plain_again
