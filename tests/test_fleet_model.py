"""The model of a fleet's round: its arithmetic, its limits, and the messages that it counts."""

import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from socket import create_connection, create_server
from threading import Thread

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc")
pytest.importorskip("open_clip")

from proxy import proxy
from servers import mlserver

from benchmarks import fleet_check
from benchmarks.exports import EMBEDDED
from benchmarks.fleet_calls import Widths, answer_bytes, request_bytes, traffic
from benchmarks.fleet_model import LINKS, PERFECT, Call, Fleet, Link, communication, round_seconds
from benchmarks.fleet_tables import dominated_from, read_result
from benchmarks.slow_link import Way
from benchmarks.timing import milliseconds
from edge_sharpzo.clip import ClipOnnx
from edge_sharpzo.clip.text_tower import CALL_BYTES, pack
from edge_sharpzo.engines.address import addresses
from edge_sharpzo.engines.served import ECHO, NONCE, SHA256
from edge_sharpzo.engines.service import connect

FAST = Link("fast", 0.0, math.inf)


def calls(
    count: int, up: int = 0, down: int = 0, here: float = 0.0, tower: float = 1.0
) -> list[Call]:
    return [Call(up, down, here, 0.0, tower)] * count


@pytest.mark.parametrize(
    ("count", "devices", "cores", "seconds"),
    [
        (1, 1, None, 1),
        (7, 1, None, 7),
        (7, 2, None, 4),
        (7, 4, None, 2),
        (8, 4, None, 2),
        (9, 4, None, 3),
        (3, 64, None, 1),
        (8, 4, 2, 4),  # four workers on two cores are no faster than two
        (8, 4, 1, 8),
    ],
)
def test_without_a_link_there_is_the_tower_alone(
    count: int, devices: int, cores: int | None, seconds: float
) -> None:
    fleet = Fleet(devices, cores)
    assert round_seconds(calls(count), FAST, fleet) == pytest.approx(seconds)
    assert communication(calls(count), FAST, fleet) == 0


@pytest.mark.parametrize(
    ("made", "link", "devices", "seconds"),
    [
        # One call: there, the tower, back.
        (calls(1), Link("", 0.5, math.inf), 1, 1.5),
        (calls(1, up=30, down=10), Link("", 0.0, 10), 1, 3 + 1 + 1),
        (calls(1, up=30, down=10, here=0.25), Link("", 0.5, 10), 1, 0.25 + 3 + 1 + 1 + 0.5),
        # The second call waits at the device while the first is computed: one round trip in all.
        (calls(2), Link("", 0.5, math.inf), 1, 2.5),
        # A round trip as long as the tower is hidden behind two calls at once: 0.5 + 10 + 0.5.
        (calls(10), Link("", 1.0, math.inf), 1, 11),
        # A longer one is not: two calls every 1 + 3 seconds.
        (calls(10), Link("", 3.0, math.inf), 1, 5 * 4 + 1),
        # A link that is slower than all devices together: the link's time, and the last call's.
        (calls(10, up=40), Link("", 0.0, 10), 4, 10 * 4 + 1),
        # So with what one processor prepares.
        (calls(10, here=4.0), FAST, 4, 10 * 4 + 1),
    ],
)
def test_rounds_that_can_be_reckoned_by_hand(
    made: list[Call], link: Link, devices: int, seconds: float
) -> None:
    assert round_seconds(made, link, Fleet(devices)) == pytest.approx(seconds)


@pytest.mark.parametrize("devices", [1, 3, 8])
def test_more_latency_less_bandwidth_and_fewer_devices_take_longer(devices: int) -> None:
    made = calls(24, up=400_000, down=80_000, here=1e-3, tower=0.05)
    by_latency = [
        round_seconds(made, Link("", ms / 1e3, 12.5e6), Fleet(devices))
        for ms in (0, 1, 5, 20, 100, 500)
    ]
    by_rate = [
        round_seconds(made, Link("", 1e-3, mbit * 125e3), Fleet(devices))
        for mbit in (1000, 100, 50, 10, 1)
    ]
    by_devices = [
        round_seconds(made, LINKS[1], Fleet(n)) for n in (4 * devices, 2 * devices, devices)
    ]
    for times in (by_latency, by_rate, by_devices):
        assert all(shorter <= longer + 1e-12 for shorter, longer in pairwise(times))
        assert times[-1] > times[0]


def test_where_communication_is_more_than_half() -> None:
    """Two seconds on the link, twelve on one device: from seven devices on, of the table 16."""
    made = calls(48, up=100, tower=0.25)
    link = Link("", 0.0, 48 * 100 / 2)
    assert dominated_from(made, link) == 16
    assert communication(made, link, Fleet(4)) == pytest.approx(1 - 3 / 3.1, abs=0.05)
    assert communication(made, link, Fleet(48)) == pytest.approx(1 - 0.25 / 2.25)
    assert dominated_from(made, PERFECT) is None


@pytest.mark.parametrize(
    ("classes", "candidates", "expected"),
    [(10, 16, [3] * 5 + [1]), (10, 2, [2]), (100, 2, [1] * 6)],
)
def test_the_calls_are_those_of_the_text_tower(
    classes: int, candidates: int, expected: list[int]
) -> None:
    """At ViT-B/16's width ten classes are one chunk, a hundred three."""
    found = traffic(Widths(512, 512), classes, candidates)
    assert [each.candidates for each in found] == expected
    # Above all vectors for each class token and the mask; features for each class.
    for each in found:
        rows = each.rows // each.candidates
        assert each.up > 4 * (512 * (rows - 5) + rows**2)
    features = 4 * 512 * classes * candidates
    assert features < sum(each.down for each in found) < features + 500 * len(found)


def test_messages_are_as_long_as_those_sent(tiny_onnx: Path) -> None:
    clip = ClipOnnx(tiny_onnx)
    width, features = clip.card.text.width, clip.card.feature_dim
    packing = pack([[1, 2, 3]] * 50, 5)
    feeds = {
        "ctx": np.zeros((40, 4, width), np.float32),
        "names": np.zeros((150, width), np.float32),
        "positions": packing.positions,
        "mask": packing.mask,
        "eot": packing.eot,
    }
    more = {**feeds, NONCE: np.zeros(16, np.uint8)}
    came: list[int] = []

    def watch(data: bytes, to_server: bool) -> None:
        if not to_server:
            came.append(len(data))

    with mlserver(tiny_onnx) as (port, *_), proxy(port, watch) as between:
        (address,) = addresses(f"kserve://127.0.0.1:{between.port}/clip-text")
        transport = connect(address)
        for _ in range(2):  # the first connects
            before = len(between.sent), sum(came)
            transport.infer("clip-text", more, ["text_features", SHA256, ECHO], 20)
    assert len(between.sent) - before[0] == pytest.approx(request_bytes(feeds), rel=0.01)
    assert sum(came) - before[1] == pytest.approx(answer_bytes(feeds, features), rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "rate", "sizes", "arrivals"),
    [
        (0.0, 0.0, [5, 5], [0.0, 0.0]),
        (0.2, 0.0, [5, 50], [0.2, 0.2]),
        (0.0, 10.0, [5, 50], [0.5, 5.5]),
        (0.2, 10.0, [5, 50, 10], [0.7, 5.7, 6.7]),
    ],
)
def test_a_slow_way(seconds: float, rate: float, sizes: list[int], arrivals: list[float]) -> None:
    way = Way(seconds, rate)
    assert [way.arrival(100.0, size) - 100 for size in sizes] == pytest.approx(arrivals)
    assert way.arrival(1000.0, 0) == 1000 + seconds  # idle in between


@pytest.mark.parametrize(
    ("round_trip_ms", "mbit", "least"), [(0, 0, 0.0), (80, 0, 0.08), (20, 8, 0.02 + 0.2 + 0.2)]
)
def test_a_link_takes_its_time_and_changes_nothing(
    round_trip_ms: float, mbit: float, least: float
) -> None:
    sent = np.random.default_rng(0).bytes(200_000)

    def echo() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(read(connection.recv))

    def read(receive: Callable[[int], bytes]) -> bytes:
        found = b""
        while len(found) < len(sent) and (data := receive(1 << 16)):
            found += data
        return found

    command = [sys.executable, "-m", "benchmarks.slow_link", str(round_trip_ms), str(mbit)]
    with create_server(("127.0.0.1", 0)) as listener:
        Thread(target=echo, daemon=True).start()
        port = listener.getsockname()[1]
        with subprocess.Popen(
            [*command, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as link:
            assert link.stdout
            with create_connection(("127.0.0.1", int(link.stdout.readline()))) as client:
                start = time.perf_counter()
                client.sendall(sent)
                assert read(client.recv) == sent
                assert time.perf_counter() - start >= least
            link.communicate()  # its input ends, and so does it
    assert link.returncode == 0


def test_the_check_predicts_from_what_a_round_costs() -> None:
    alone = {
        "tower_ms": 800.0,
        "calls": [{"candidates": 1, "rows": 50, "up": 900, "down": 100}] * 4,
    }
    cost = {"worker_ms": 880.0, "between_ms": 20.0, "here_ms": 40.0}

    def seconds(workers: int, cores: int, link: Link = PERFECT) -> float:
        return fleet_check.predicted(alone, cost, link, workers, cores)

    assert seconds(1, 2) == pytest.approx(0.89)  # the first is prepared, then the worker is busy
    assert seconds(2, 2) == pytest.approx((0.88 + 0.04 + 0.02) / 2)  # all take turns
    assert seconds(4, 2) == pytest.approx(seconds(2, 2))
    assert seconds(4, 8) == pytest.approx(0.04 + 0.22)
    assert seconds(1, 2, Link("", 0.1, math.inf)) == pytest.approx(0.99)


def test_the_results_hold_what_the_model_predicts() -> None:
    found, links = read_result("fleet_check.json"), {link.name: link for link in LINKS}
    rounds = 0
    for case in found["problems"]:
        for row in case["rounds"]:
            cost = case["services" if row["over"] in links else "dask"]
            link = links.get(row["over"], PERFECT)
            seconds = fleet_check.predicted(case, cost, link, row["workers"], found["cores"])
            assert row["predicted_ms"] == milliseconds(seconds)
            rounds += 1
        widths = Widths(*[256 if case["model"] == EMBEDDED else 512] * 2)
        sent = traffic(widths, case["classes"], case["candidates"])
        assert case["calls"] == [asdict(each) for each in sent]
    assert rounds == len(found["problems"]) * (len(LINKS) + 1) * len(fleet_check.WORKERS)


def test_what_messages_cost_is_a_line_through_the_problems() -> None:
    def case(count: int, size: int) -> dict[str, object]:
        call = {"up": size - 100, "down": 100}
        return {
            "calls": [call] * count,
            "tower_ms": 500.0,
            "services": {
                "here_ms": count * (1 + size / 1e5),
                "worker_ms": 500 + count * (2 + size / 5e4),
            },
        }

    found = fleet_check.handling([case(3, 100_000), case(6, 200_000), case(48, 500_000)])
    assert found["here"] == {"call": pytest.approx(1e-3), "byte": pytest.approx(1e-8)}
    assert found["there"] == {"call": pytest.approx(2e-3), "byte": pytest.approx(2e-8)}


def test_a_call_is_about_as_large_as_the_tower_makes_it() -> None:
    """Sixteen candidates of a hundred classes: each its own call, for each would pass the limit."""
    found = traffic(Widths(768, 768), 100, 16)
    assert {each.candidates for each in found} == {1}
    assert 4 * 16 * 768 * max(each.rows for each in found) > CALL_BYTES
