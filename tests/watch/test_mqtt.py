"""What `watch` tells a broker: a real mosquitto, which goes away and comes back."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from helpers import Place, photo

pytest.importorskip("paho.mqtt", reason="the extra `mqtt` is not installed")

from benchmarks.mosquitto import PROGRAM, Listener, Mosquitto, free_port, until
from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.watching import mqtt, trouble
from edge_sharpzo.watching.broker import PASSWORD, Broker
from edge_sharpzo.watching.mqtt import Mqtt
from watch.sights import watcher

pytestmark = pytest.mark.skipif(not PROGRAM, reason="mosquitto is not installed")
TOPIC = "home/door"
LABELS = ["red things", "grün"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as started:
        yield started


def client(port: int, told: list[str] | None = None, user: str = "", scheme: str = "mqtt") -> Mqtt:
    address = f"{scheme}://{user}127.0.0.1:{port}/{TOPIC}"
    tell = lambda text, _: told.append(text) if told is not None else None  # noqa: E731
    return Mqtt(Broker.parsed(address), LABELS, tell)


def row(frame: int, state: str | None = None, changed: bool = False) -> dict[str, Any]:
    return {
        "time": f"t{frame}",
        "frame": frame,
        "class": "grün",
        "state": state,
        "changed": changed,
    }


def retained(broker: Mosquitto) -> dict[str, str]:
    """What the broker keeps, as one who comes later hears it."""
    listener = Listener(broker)
    listener._client._client_id = b"later"  # another than the one that hears all
    with listener:
        time.sleep(0.3)
        return {topic: text for topic, text, kept in listener.heard if kept}


def test_what_a_broker_hears(broker: Mosquitto) -> None:
    with Listener(broker) as listener:
        with client(broker.port) as sender:
            for number, (state, changed) in enumerate(
                [(None, False), ("grün", True), ("grün", False), ("none of these", True)], 1
            ):
                sender.answer(row(number, state, changed))
            until(lambda: len(listener.frames(TOPIC)) == 4, "answers")
            kept = retained(broker)
        until(lambda: "offline" in listener.texts(f"{TOPIC}/availability"), "leave")
    assert [json.loads(text) for text in listener.texts(TOPIC)][3] == row(4, "none of these", True)
    states = [json.loads(text) for text in listener.texts(f"{TOPIC}/state")]
    assert states[-1] == {"state": "none of these", "time": "t4"}
    assert listener.texts(f"{TOPIC}/availability") == ["online", "offline"]
    (config,) = (kept.pop(name) for name in list(kept) if name.startswith("homeassistant/"))
    assert {name: text for name, text in kept.items() if "state" not in name} == {
        f"{TOPIC}/availability": "online"
    }
    assert json.loads(kept[f"{TOPIC}/state"])["state"] == "none of these"
    found = json.loads(config)
    assert found["state_topic"] == f"{TOPIC}/state"
    assert found["availability_topic"] == f"{TOPIC}/availability"
    assert found["json_attributes_topic"] == TOPIC
    assert found["options"] == [*LABELS, "none of these"]
    assert found["unique_id"].startswith("edge_sharpzo_home_door_")
    assert found["device"]["identifiers"] == [found["unique_id"]]


def test_home_assistant_hears_of_new_classes(broker: Mosquitto) -> None:
    with Listener(broker) as listener, client(broker.port) as sender:
        until(lambda: listener.texts(f"{TOPIC}/availability") == ["online"], "online")
        sender.use(["a", "b"], None)
        configs = lambda: [t for n, t, _ in listener.heard if n.endswith("/config")]  # noqa: E731
        until(lambda: len(configs()) == 2, "the second")
    assert json.loads(configs()[1])["options"] == ["a", "b", "none of these"]


@pytest.mark.parametrize("old", ["grün", "none of these", "no class any more"])
def test_the_state_of_an_earlier_watcher_is_not_there_with_a_new_one(
    old: str, broker: Mosquitto
) -> None:
    """It was killed, and to the new one nothing comes yet."""
    with client(broker.port) as killed:
        killed.answer(row(1, old, True))
        until(lambda: f"{TOPIC}/state" in retained(broker), "a state")
        assert json.loads(retained(broker)[f"{TOPIC}/state"])["state"] == old
        with Listener(broker) as listener, client(broker.port) as sender:
            fresh = lambda: [name for name, _, kept in listener.heard if not kept]  # noqa: E731
            until(lambda: f"{TOPIC}/availability" in fresh(), "online")
            assert fresh().index(f"{TOPIC}/state") < fresh().index(f"{TOPIC}/availability")
            found = json.loads(retained(broker)[f"{TOPIC}/state"])
            assert found["state"] is None
            assert found["time"][10] == "T"
            sender.answer(row(2, None))  # what comes then changes no state
            until(lambda: 2 in listener.frames(TOPIC), "the answer")
            assert json.loads(retained(broker)[f"{TOPIC}/state"]) == found


def test_home_assistant_hears_of_each_option_once(broker: Mosquitto) -> None:
    """It takes no sensor with two of a name."""
    with client(broker.port) as sender:
        sender.use(["none of these", "b", "none_of_these"], None)
        configs = lambda: [t for n, t in retained(broker).items() if n.endswith("/config")]  # noqa: E731
        until(lambda: bool(configs()), "a sensor")
        until(lambda: "b" in json.loads(configs()[0])["options"], "the classes")
        found = json.loads(configs()[0])["options"]
    assert found == ["none of these", "b", "none_of_these"]


@pytest.mark.parametrize("state", ["red things", "none of these", None])
def test_a_state_that_new_classes_do_not_have_is_taken_back(
    state: str | None, broker: Mosquitto
) -> None:
    """At once, for the next frame may be hours away."""
    with client(broker.port) as sender:
        sender.answer(row(1, "grün", True))
        until(lambda: f"{TOPIC}/state" in retained(broker), "a state")
        sender.use(["red things", "blue"], state)
        stays = lambda: json.loads(retained(broker)[f"{TOPIC}/state"])["state"]  # noqa: E731
        until(lambda: stays() == state, "the other")


def test_two_topics_are_two_devices(broker: Mosquitto) -> None:
    with Listener(broker) as listener:
        for topic in ("a/b", "a_b"):
            address = Broker.parsed(f"mqtt://127.0.0.1:{broker.port}/{topic}")
            with Mqtt(address, LABELS, lambda text, _: None):
                until(lambda topic=topic: bool(listener.texts(f"{topic}/availability")), topic)
    names = {name for name, _, _ in listener.heard if name.endswith("/config")}
    assert len(names) == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_lost_while_the_broker_is_away(
    how: signal.Signals, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "HELD", 0.0)
    told = list[str]()
    with Listener(broker) as listener, client(broker.port, told) as sender:
        for number in range(1, 51):
            sender.answer(row(number, "grün", number == 1))
        until(lambda: len(listener.frames(TOPIC)) == 50, "the first fifty")
        broker.end(how)
        for number in range(51, 251):  # states change meanwhile
            sender.answer(row(number, LABELS[number % 2], True))
        until(lambda: bool(told), "a word of it")
        broker.start()
        for number in range(251, 301):
            sender.answer(row(number, LABELS[0]))
            time.sleep(0.01)
        until(lambda: len(set(listener.frames(TOPIC))) == 300, "all")
        until(lambda: sender.look() or len(told) == 2, "a word of its return")
        time.sleep(0.3)
        last = json.loads(retained(broker)[f"{TOPIC}/state"])
    assert last == {"state": LABELS[0], "time": "t250"}  # not one that was sent again
    assert listener.texts(f"{TOPIC}/availability")[-2:] == ["online", "offline"]
    assert told[0] == (f"127.0.0.1:{broker.port} went away. Answers wait, and it is tried again")
    assert "is there: " in told[1]
    assert "dropped" not in told[1]


@pytest.fixture
def moody() -> Iterator[socket.socket]:
    """A broker that takes every connection, and ends it at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def greet(server: socket.socket, times: int) -> None:
    for _ in range(times):
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"\x20\x02\x00\x00")  # connected


def test_a_broker_that_comes_and_goes_is_told_of_once(
    moody: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "HELD", 1000.0)
    told, port = list[str](), moody.getsockname()[1]
    sender = client(port, told)
    sender._client.reconnect_delay_set(1, 1)
    greeter = Thread(target=greet, args=(moody, 3))
    greeter.start()
    with sender:
        while greeter.is_alive():
            sender.look()
            time.sleep(0.01)
        assert told == [f"127.0.0.1:{port} went away. Answers wait, and it is tried again"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_broker_is_back_once_that_has_held(
    is_there: bool, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher looks between two frames, also where none comes."""
    told = list[str]()
    with client(broker.port, told) as sender:
        until(sender._client.is_connected, "a connection")
        sender._trouble.begin("away")
        work = watcher([], mqtt=sender)
        list(replace(work, frames=(each for each in [None] * 3)).rows(StopWhen()))
        assert told == ["away"]  # for a moment
        monkeypatch.setattr(trouble, "HELD", 0.0)
        if not is_there:
            monkeypatch.setattr(sender._client, "is_connected", lambda: False)
        list(replace(work, frames=(each for each in [None])).rows(StopWhen()))
        assert told[1:] == [f"127.0.0.1:{broker.port} is there: 0 answers waited"] * is_there
        monkeypatch.undo()


def test_a_refusal_is_told_beside_other_trouble() -> None:
    """Somebody has to look at the password."""
    told = list[str]()
    about = trouble.Trouble(lambda text, _: told.append(text))
    for text, is_other in (("away", False), ("gone", False), ("no", True), ("no", True)):
        about.begin(text, is_other)
    assert told == ["away", "no"]


def test_a_broker_that_is_not_there_at_the_start(tmp_path: Path) -> None:
    told = list[str]()
    broker = Mosquitto(tmp_path / "mosquitto")
    with client(broker.port, told) as sender:
        sender.answer(row(1, "grün", True))
        until(lambda: bool(told), "a word of it")
        assert "no broker answers at 127.0.0.1" in told[0]
        assert "refused" in told[0]
        time.sleep(1.5)
        assert len(told) == 1  # said once
        with broker, Listener(broker) as listener:
            until(lambda: listener.frames(TOPIC) == [1] or len(told) == 2, "the answer")
            until(lambda: f"{TOPIC}/state" in retained(broker), "the state")


def test_what_waits_is_bounded_and_what_is_dropped_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "QUEUE", 5)
    monkeypatch.setattr(trouble, "HELD", 0.0)
    told = list[str]()
    broker = Mosquitto(tmp_path / "mosquitto")
    with broker, Listener(broker) as listener:
        broker.end(signal.SIGTERM)
        with client(broker.port, told) as sender:
            until(lambda: bool(told), "a word of it")
            for number in range(1, 10):
                sender.answer(row(number, "grün", number == 1))
            assert "5 answers wait for" in told[1]
            assert len(told) == 2
            broker.start()
            until(lambda: sender.look() or len(told) == 3, "its return")
            assert told[2].endswith("5 answers waited, 4 dropped")
            until(lambda: listener.frames(TOPIC) == [1, 2, 3, 4, 5], "what waited")
            until(lambda: not sender._sent.answers(), "the broker's word of it")
            sender.answer(row(10, "grün"))
            until(lambda: listener.frames(TOPIC)[-1] == 10, "the next")


def test_what_was_not_delivered_is_said_at_the_end() -> None:
    told, began = list[str](), time.monotonic()
    with client(free_port(), told) as sender:
        for number in range(1, 4):
            sender.answer(row(number))
    assert told[-1].startswith("3 answers not delivered to 127.0.0.1")
    assert time.monotonic() - began < 5


def test_a_broker_that_hangs_does_not_hold_the_end_up(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "FAREWELL", 0.5)
    told = list[str]()
    assert broker._process
    with client(broker.port, told) as sender:
        until(sender._client.is_connected, "a connection")
        sender.answer(row(1))
        until(lambda: not sender._sent.any(), "its arrival")
        broker._process.send_signal(signal.SIGSTOP)
        sender.answer(row(2))
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert told == [f"1 answer not delivered to 127.0.0.1:{broker.port}"]
    broker._process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(not shutil.which("mosquitto_passwd"), reason="mosquitto_passwd is missing")
def test_users_and_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", file, "joe", "söcret"], check=True)
    told = list[str]()
    with Mosquitto(tmp_path / "mosquitto", f"password_file {file}") as broker:
        for password, user, words in (
            ("söcret", "joe@", ""),
            ("wrong", "joe@", "refuses"),
            ("", "", "refuses"),
        ):
            monkeypatch.setenv(PASSWORD, password)
            with client(broker.port, told, user) as sender:
                if words:
                    until(lambda: bool(told), "a refusal")
                else:
                    until(sender._client.is_connected, "a connection")
            assert all(word in told[0] for word in (words, PASSWORD) if words), told
            assert "söcret" not in str(told)
            told.clear()


def test_an_encrypted_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    more = f"allow_anonymous true\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem"
    told = list[str]()
    with Mosquitto(tmp_path / "mosquitto", more) as broker:
        with client(broker.port, told, scheme="mqtts"):
            until(lambda: bool(told), "a word of it")
        assert "certificate verify failed" in told[0]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with client(broker.port, told, scheme="mqtts") as sender:
            until(sender._client.is_connected, "a connection")


def test_a_password_that_is_sent_unencrypted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    told = list[str]()
    broker = Broker.parsed(f"mqtt://joe@127.0.0.1:{free_port()}/a")
    object.__setattr__(broker, "host", "broker.invalid")
    with Mqtt(broker, LABELS, lambda text, _: told.append(text)):
        assert told[0].startswith("the password goes to broker.invalid")


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_the_end_of_the_command_is_known(how: str, broker: Mosquitto, place: Place) -> None:
    """By its own word, or by its last will."""
    inbox = place.folder("camera")
    command = ["watch", place.run, "--source", inbox, "--agree", "1/1", "--every", "0.1"]
    command += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}/{TOPIC}"]
    with Listener(broker) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_sharpzo", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ,
        )
        try:
            available = lambda: listener.texts(f"{TOPIC}/availability")  # noqa: E731
            until(lambda: available() == ["online"], "the start")
            (inbox / "a.png").write_bytes(photo(place).read_bytes())
            assert process.stdout
            told = json.loads(process.stdout.readline())
            until(lambda: bool(listener.texts(TOPIC)), "the answer")
            assert json.loads(listener.texts(TOPIC)[0]) == told
            process.send_signal(getattr(signal, how))
            assert process.wait(10) == (130 if how == "SIGTERM" else -9)
            until(lambda: available() == ["online", "offline"], "the end")
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_soak(tiny_onnx: Path) -> None:
    """20,000 frames, the broker killed twice."""
    pytest.importorskip("av")
    from benchmarks.watch_soak import measure

    found = measure(20_000, tiny_onnx)
    assert (found["answers"], found["answers_lost"]) == (20_000, 0)
    assert found["last_state_right"]
    assert found["state_changes"] == 400
    memory = found["memory_mb"]
    assert memory["last"] - memory["first"] < 5
    assert memory["most"] - memory["first"] < 5
