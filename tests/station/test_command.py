"""`edge-sharpzo station`: what it says at the start, and what it refuses."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from helpers import invoke

from edge_sharpzo.cli import station as command
from edge_sharpzo.station.security import is_loopback, names_of


@contextmanager
def launched(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the link that it prints."""
    given = [sys.executable, "-m", "edge_sharpzo", "station", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        given, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]


@contextmanager
def started(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The same, ended as by a user."""
    with launched(*arguments) as (process, link):
        yield process, link
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
        assert process.stderr is not None
        told = process.stderr.read()
        assert told.endswith("edge-sharpzo: interrupted\n")
        assert "Traceback" not in told


def test_a_second_station_on_one_folder(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    given = ("--data", data, "--onnx", tiny_onnx, "--port", 0)
    with started(*given, "--run", tmp_path / "run") as (process, link):
        refused = invoke("station", *given, "--run", tmp_path / "other")
        assert refused.exit_code == 2
        assert f"in use by process {process.pid} at {link}" in refused.stderr
        assert httpx.get(f"{link}api/state", trust_env=False).status_code == 200


def test_others_on_the_network_need_the_token(data: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    given = ("--data", data, "--onnx", tiny_onnx, "--port", 0, "--run", tmp_path / "run")
    with started(*given, "--host", "0.0.0.0") as (_, link):
        token = (data / ".station" / "token").read_text().strip()
        assert link.endswith(f"/?token={token}")
        assert (data / ".station" / "token").stat().st_mode & 0o777 == 0o600
        port = int(re.findall(r":(\d+)/", link)[0])
        here = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{here}/api/state", trust_env=False).status_code == 401
        bearer = {"Authorization": f"Bearer {token}"}
        for host in (f"127.0.0.1:{port}", f"{socket.gethostname()}:{port}"):
            headers = {**bearer, "Host": host}
            assert httpx.get(f"{here}/api/state", headers=headers, trust_env=False).is_success
        for host in ("evil.example", f"192.0.2.7:{port}", f"0.0.0.0:{port}"):
            headers = {**bearer, "Host": host}
            answer = httpx.get(f"{here}/api/state", headers=headers, trust_env=False)
            assert answer.status_code == 421
    with started(*given, "--host", "0.0.0.0") as (_, link):
        assert link.endswith(f"token={token}")  # kept


def test_a_port_that_is_taken(data: Path, tiny_onnx: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = invoke("station", "--data", data, "--onnx", tiny_onnx, "--port", port)
    assert told.exit_code == 2
    assert f"--port {port} is taken" in told.stderr
    assert not (data / ".station").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--port", 65536], "give a number from 0 to 65535"),
        (["--port", -1], "give a number from 0 to 65535"),
        (["--host", "no such host"], "--host 'no such host' is no address of this machine"),
        (["--host", "192.0.2.1"], "cannot be listened at"),
        (["--host", ""], "--host"),
        (["--threads", -5], "--threads -5"),
        (["--max-memory", 0], "--max-memory"),
        (["--onnx", "nowhere.onnx"], "nowhere.onnx does not exist"),
        (["--data", "nowhere"], "nowhere is no folder"),
        (["--run", "."], "lie in each other"),
    ],
)
def test_what_cannot_be_is_said(
    given: list[object],
    told: str,
    data: Path,
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_serve", lambda *_: pytest.fail("it serves"))
    default = ["--data", data, "--onnx", tiny_onnx, "--port", 0]
    result = invoke("station", *default, *given)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", ["starlette", "uvicorn", "python_multipart", "segno"])
def test_without_the_extra_it_says_what_to_install(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(
        importlib.util, "find_spec", lambda each, *_: None if each == name else find_spec(each)
    )
    result = invoke("station", "--data", data)
    assert result.exit_code == 2
    assert "pip install 'edge-sharpzo[station]'" in result.stderr


def test_the_code_for_phones_is_the_link(capsys: pytest.CaptureFixture[str]) -> None:
    import segno

    link = "http://192.168.1.20:8080/?token=" + "a" * 43
    lines = list(command._lines(segno.make(link, micro=False)))
    assert len({len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines}) == 1
    command._tell("http://127.0.0.1:8080/", None)
    assert capsys.readouterr().out == "the station is at http://127.0.0.1:8080/\n"


def test_every_address_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    others = ["http://10.0.0.2:81/", "http://192.168.7.1:81/"]
    command._tell("http://10.1.1.1:81/", "abc", others)
    assert capsys.readouterr().out.splitlines()[:3] == [
        "the station is at http://10.1.1.1:81/?token=abc",
        "or at http://10.0.0.2:81/?token=abc",
        "or at http://192.168.7.1:81/?token=abc",
    ]


@pytest.mark.parametrize(
    ("own", "reached"), [(["10.0.0.2", "10.9.9.9"], "10.0.0.2"), (["fe"], "fe"), ([], "den")]
)
def test_without_a_way_out_an_address_is_told_before_a_name(
    own: list[str], reached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    class Probe(socket.socket):
        connect = nowhere

    monkeypatch.setattr(command.socket, "socket", Probe)
    monkeypatch.setattr(command.socket, "gethostname", lambda: "den")
    monkeypatch.setattr(command, "_own_addresses", lambda: own)
    assert command._reached_at("0.0.0.0") == reached


def test_own_addresses_are_no_loopback() -> None:
    for address in command._own_addresses():
        assert socket.inet_aton(address)[0] != 127


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.1.2.3", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
    assert "127.0.0.1" in names_of(host)
    assert not names_of(host) & {"0.0.0.0", "[::]", ""}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_answers_are_sent_at_once(host: str) -> None:
    """What comes in there is TCP to asyncio, which waits for no more to send then."""
    with command._listening(host, 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
