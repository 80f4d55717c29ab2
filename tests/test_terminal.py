"""Every command on every terminal, and on none: odd encodings, closed streams, signals, and text
that would steer it.
"""

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Place, photo, slow_unless, tune, write_photos
from typer.testing import CliRunner

from edge_sharpzo import Classifier
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.cli import app
from edge_sharpzo.cli.boundary import as_flags
from edge_sharpzo.cli.display import Display
from edge_sharpzo.cli.flags import tell
from edge_sharpzo.events import Note
from edge_sharpzo.runs.checkpoint import FILE
from edge_sharpzo.system.tensors import load_tensors, save_tensors
from edge_sharpzo.system.text import is_line

COMMANDS: dict[str, str] = {
    "tune": "tune --onnx {onnx} --data {data} --out {tmp}/new --shots 6 --budget 40",
    "predict": "predict {run} {data}/test",
    "predict as CSV": "predict {run} {data}/test --csv",
    "predict as JSON": "predict {run} {data}/test --json",
    "eval": "eval {run} --data {data}",
    "info": "info {run}",
    "compare": "compare {run} {run}",
    "collect": "collect {run}",
    "doctor": "doctor --onnx {onnx}",
    "help": "--help",
    "version": "--version",
}
ODD_NAMES = ("Ωmega", "日本", "café")
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# A user of whom the system knows no name and no home.
NOBODY = """
import pwd, sys
def unknown(user):
    raise KeyError(user)
pwd.getpwuid = unknown
from edge_sharpzo.cli import app
app(sys.argv[1:])
"""
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "the C locale": C_LOCALE,
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
}
STREAMS = {
    "closed stdin": "<&-",
    "closed stdout": ">&-",
    "closed stderr": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "a pipe that ends": "2>&1 | true",
}


@pytest.fixture(scope="module")
def odd(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Photos of classes with names of several alphabets, and a run on them."""
    root = tmp_path_factory.mktemp("odd")
    for label, name in enumerate(ODD_NAMES):
        write_photos(root / "data" / "train" / name, 80 * label, 6, seed=1)
        write_photos(root / "data" / "test" / name, 80 * label, 3, seed=2)
    tune(tiny_onnx, root / "data", root / "run", "--budget", 50)
    return root / "data", root / "run"


def words(name: str, place: Place, data: Path, run: Path) -> list[str]:
    return COMMANDS[name].format(onnx=place.onnx, data=data, run=run, tmp=place.tmp).split()


def python(*arguments: str, script: str | None = None) -> list[str]:
    return [sys.executable, *(["-c", script] if script else ["-m", "edge_sharpzo"]), *arguments]


def done(command: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "name", slow_unless(lambda name: name in ("tune", "predict", "doctor", "help"), COMMANDS)
)
def test_a_user_without_a_name_or_a_home(name: str, place: Place) -> None:
    kept = {
        k: v
        for k, v in os.environ.items()
        if k not in ("HOME", "USER", "LOGNAME", "EDGE_SHARPZO_CACHE", "XDG_CACHE_HOME", "TERM")
    }
    ended = subprocess.run(
        python(*words(name, place, place.photos, place.run), script=NOBODY),
        env=kept | {"TMPDIR": str(place.tmp)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


@pytest.mark.parametrize(
    ("environment", "name"),
    slow_unless(
        lambda environment, name: (
            name in ("predict", "info")
            or (environment == "the C locale" and name in ("tune", "eval"))
            or (
                environment == "ASCII"
                and name in ("predict as CSV", "predict as JSON", "eval", "help")
            )
        ),
        ENVIRONMENTS,
        COMMANDS,
    ),
)
def test_names_that_the_encoding_lacks(
    environment: str, name: str, place: Place, odd: tuple[Path, Path]
) -> None:
    ended = done(python(*words(name, place, *odd)), **ENVIRONMENTS[environment])
    if environment == "the C locale" and name in ("tune", "eval"):  # folders that are no text there
        assert ended.returncode == 2
        assert b"set PYTHONUTF8=1" in ended.stderr
        return
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr
    encoding = ENVIRONMENTS[environment].get("PYTHONIOENCODING", "ascii").split(":")[0]
    text = ended.stdout.decode(encoding)
    if name in ("predict", "predict as CSV", "eval"):
        assert "\\u03a9mega" in text
    if name == "predict as JSON":
        assert {row["class"] for row in json.loads(text)} == set(ODD_NAMES)


@pytest.mark.parametrize(
    ("streams", "name"),
    slow_unless(
        lambda streams, name: (
            name == "predict"
            or (name == "tune" and streams in ("all closed", "a pipe that ends"))
            or (
                streams == "closed stdout" and name in ("predict as JSON", "info", "doctor", "help")
            )
        ),
        STREAMS,
        COMMANDS,
    ),
)
def test_closed_streams_and_pipes_that_end(streams: str, name: str, place: Place) -> None:
    """Nothing is said of a pipe that ends; a run goes on to its end whoever listens."""
    line = f'{{ "$@"; echo $? > {place.tmp}/code; }} {STREAMS[streams]}'
    command = python(*words(name, place, place.photos, place.run))
    ended = done(["sh", "-c", line, "sh", *command])
    code = int((place.tmp / "code").read_text())
    told = ended.stderr.decode()
    assert "Traceback" not in told
    assert "Exception ignored" not in told
    if name == "tune":
        assert code == 0, told
        assert (place.tmp / "new" / "summary.json").exists()
        assert not (place.tmp / "new" / FILE).exists()
    elif streams == "closed stdout":
        assert code in (0, 141)
        assert code == 0 or "standard output is closed" in told
    elif "pipe" in streams or "all" in streams:
        assert code in (0, 1, 141)
        assert "edge-sharpzo:" not in told
    else:
        assert code == 0, told


@pytest.mark.parametrize(
    "name",
    slow_unless(
        lambda name: name in ("tune", "predict", "predict as CSV", "info", "version"),
        [name for name in COMMANDS if name != "help"],
    ),
)
def test_a_full_disk_behind_stdout_is_told(name: str, place: Place) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = python(*words(name, place, place.photos, place.run))
    ended = done(["sh", "-c", '"$@" > /dev/full', "sh", *command])
    assert ended.returncode == 2
    assert b"cannot write to standard output (No space left" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


# Sends itself a signal where a command opens a model, or reads a run.
SIGNALLED = """
import os, signal, sys
import edge_sharpzo.clip.clip_file as model, edge_sharpzo.runs.records as records
def struck(function):
    def call(*arguments, **more):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return function(*arguments, **more)
    return call
model.ClipOnnx.__init__ = struck(model.ClipOnnx.__init__)
records.Summary.read = struck(records.Summary.read)
from edge_sharpzo.cli import app
app(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "name",
    slow_unless(
        lambda name: name in ("tune", "predict", "compare", "doctor"),
        [name for name in COMMANDS if name not in ("help", "version")],
    ),
)
def test_a_closed_terminal_ends_every_command(name: str, place: Place) -> None:
    command = words(name, place, place.photos, place.run)
    ended = done(python("SIGHUP", *command, script=SIGNALLED))
    assert ended.returncode == 130
    assert ended.stderr.decode().splitlines()[-1] == "edge-sharpzo: interrupted"
    assert b"Traceback" not in ended.stderr


# Speaks after every step, and sends itself a signal in the third step and
# wherever else it is asked to.
STRUCK = """
import os, signal, sys
import edge_sharpzo.cli.display as display
import edge_sharpzo.cli.tune as command
import edge_sharpzo.runs.checkpoint as checkpoint
from edge_sharpzo import pipeline
from edge_sharpzo.cli import app
display.PLAIN_EVERY = 0
sent, *where = sys.argv[1].split(",")
def strike():
    os.kill(os.getpid(), getattr(signal, sent))
def struck(function):
    def call(*arguments, **more):
        strike()
        return function(*arguments, **more)
    return call
offer, steps = checkpoint.Checkpoints.offer, []
def third(*arguments):
    steps.append(1)
    if len(steps) == 3:
        strike()
    offer(*arguments)
checkpoint.Checkpoints.offer = third
if "finish" in where:
    pipeline.finish = struck(pipeline.finish)
if "summary" in where:
    command._print_summary = struck(command._print_summary)
if "hint" in where:
    command.quote = struck(command.quote)
app(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "strikes",
    slow_unless(
        lambda strikes: strikes in ("SIGTERM", "SIGINT,finish,hint"),
        ["SIGHUP", "SIGTERM", "SIGINT", "SIGINT,finish", "SIGINT,summary", "SIGINT,finish,hint"],
    ),
)
def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(strikes: str, place: Place) -> None:
    command = [str(word) for word in place.tune("--budget", 300)]
    ended = done(python(strikes, *command, script=STRUCK))
    out = place.tmp / "out"
    assert ended.returncode == 130, ended.stderr
    assert (out / FILE).exists()
    hints = [line for line in ended.stderr.decode().splitlines() if "--resume" in line]
    assert hints == [f"interrupted; go on with: edge-sharpzo tune --resume {out}"]
    assert done(python("tune", "--resume", str(out))).returncode == 0
    assert json.loads((out / "summary.json").read_text())["stopped_because"] == "budget"
    assert not (out / FILE).exists()


def test_a_signal_after_the_end_has_nothing_to_resume(place: Place) -> None:
    script = STRUCK.replace("len(steps) == 3", "False")
    command = [str(word) for word in place.tune()]
    ended = done(python("SIGINT,summary", *command, script=script))
    assert ended.returncode == 130
    assert b"--resume" not in ended.stderr
    assert (place.tmp / "out" / "summary.json").exists()


def test_a_signal_before_a_run_goes_on_says_so_again(place: Place) -> None:
    command = [str(word) for word in place.tune("--budget", 300)]
    assert done(python("SIGTERM", *command, script=STRUCK)).returncode == 130
    resume = ["tune", "--resume", str(place.tmp / "out")]
    ended = done(python("SIGINT", *resume, script=SIGNALLED))
    assert ended.returncode == 130
    assert f"--resume {place.tmp / 'out'}" in ended.stderr.decode()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of one: what a person holds, and what a process has."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def seen(end: int, wanted: bytes = b"\0", seconds: float = 60) -> bytes:
    """What appears on a terminal, until `wanted` or its end."""
    content, until = b"", time.monotonic() + seconds
    while wanted not in content and time.monotonic() < until:
        try:
            more = os.read(end, 65536)
        except OSError:  # the process has closed it
            break
        if not more:
            break
        content += more
    return content


def owns(end: int) -> Callable[[], None]:
    """Called in a new process: this is its terminal."""

    def take() -> None:
        os.setsid()
        fcntl.ioctl(end, termios.TIOCSCTTY, 0)

    return take


@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_is_closed(nohup: bool, place: Place, terminal: tuple[int, int]) -> None:
    """The run ends with a checkpoint; under `nohup` it goes on to its end."""
    held, given = terminal
    budget = 3000 if nohup else 100_000
    command = python(*(str(word) for word in place.tune("--budget", budget)))
    if nohup:
        command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command]
    process = subprocess.Popen(
        command, stdin=given, stdout=given, stderr=given, preexec_fn=owns(given)
    )
    os.close(given)
    assert b"loss" in seen(held, b"loss")  # the search goes on
    os.close(held)
    assert process.wait(timeout=120) == (0 if nohup else 130)
    summary = json.loads((place.tmp / "out" / "summary.json").read_text())
    assert summary["stopped_because"] == ("budget" if nohup else "interrupted")
    assert (place.tmp / "out" / FILE).exists() is not nohup


# As on a slow device.
SLOW = """
import sys, time
from edge_sharpzo.clip.image_tower import ImageTower
original = ImageTower.each
def each(self, *arguments):
    for seen in original(self, *arguments):
        time.sleep(0.1)
        yield seen
ImageTower.each = each
from edge_sharpzo.cli import app
app(sys.argv[1:])
"""


def test_progress_of_predictions_beside_a_file_of_answers(
    place: Place, terminal: tuple[int, int]
) -> None:
    held, given = terminal
    command = python("predict", str(place.run), str(place.photos / "test"), script=SLOW)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=given)
    os.close(given)
    bar = seen(held)
    answers = process.stdout.read().decode() if process.stdout else ""
    assert process.wait(timeout=60) == 0
    assert b"photos" in bar
    assert len(answers.splitlines()) == 18
    assert "\x1b" not in answers


def test_no_progress_between_answers_on_one_terminal(
    place: Place, terminal: tuple[int, int]
) -> None:
    held, given = terminal
    command = python("predict", str(place.run), str(place.photos / "test"))
    process = subprocess.Popen(command, stdout=given, stderr=given)
    os.close(given)
    shown = seen(held)
    assert process.wait(timeout=60) == 0
    assert len(shown.splitlines()) == 18
    assert b"\x1b" not in shown


def test_answers_come_while_photos_are_encoded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_sharpzo.clip import image_tower

    files = sorted((place.photos / "test").rglob("*.png"))
    decoded: list[object] = []
    original = image_tower.load_image
    monkeypatch.setattr(
        image_tower,
        "load_image",
        lambda photo, most: decoded.append(photo) or original(photo, most),
    )
    answers = Classifier.load(place.run).stream(files)
    first = next(answers)
    assert not isinstance(first, str)
    assert len(decoded) <= 1 + image_tower.AHEAD < len(files)
    rest = list(answers)
    assert len(decoded) == len(files) == 1 + len(rest)


# Photos that cannot be read: nothing, the first, the last, a whole batch, all of them.
UNREADABLE = [(), (0,), (17,), (4, 5, 6, 7), (3, 4), tuple(range(12)), tuple(range(18))]


@pytest.mark.parametrize("bad", UNREADABLE)
def test_streamed_answers_are_in_order_and_those_of_all_at_once(
    bad: tuple[int, ...], place: Place
) -> None:
    files: list[Path] = sorted((place.photos / "test").rglob("*.png"))
    files = [place.tmp / f"none-{i}.png" if i in bad else file for i, file in enumerate(files)]
    classifier = Classifier.load(place.run)
    reasons: dict[int, str] = {}
    features, readable = classifier.encode(files, reasons.__setitem__)
    whole = iter(classifier.answers(features[readable]))
    for index, answer in enumerate(classifier.stream(files)):
        if index in bad:
            assert answer == reasons[index]
        else:
            assert not isinstance(answer, str)
            assert answer.label == next(whole).label
    assert index == len(files) - 1


# Sends itself a signal when eight answers are out.
INTERRUPTED = """
import os, signal, sys
from edge_sharpzo.clip.image_tower import ImageTower
original = ImageTower.each
def each(self, *arguments):
    for done, seen in enumerate(original(self, *arguments)):
        if done == 8:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        yield seen
ImageTower.each = each
from edge_sharpzo.cli import app
app(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("form", "sent"),
    slow_unless(
        lambda form, sent: sent == "SIGINT" or form == "lines",
        ["lines", "--csv", "--json"],
        ["SIGINT", "SIGTERM", "SIGHUP"],
    ),
)
def test_interrupted_predictions_are_whole_as_far_as_they_go(
    form: str, sent: str, place: Place
) -> None:
    more = [] if form == "lines" else [form]
    folder = str(place.photos / "test")
    ended = done(python(sent, "predict", str(place.run), folder, *more, script=INTERRUPTED))
    assert ended.returncode == 130
    assert ended.stderr.decode() == "edge-sharpzo: interrupted\n"
    text = ended.stdout.decode()
    files = [str(file) for file in sorted(Path(folder).rglob("*.png"))[:8]]
    if form == "--json":
        assert [row["file"] for row in json.loads(text)] == files
    elif form == "--csv":
        assert [row["file"] for row in csv.DictReader(io.StringIO(text, newline=""))] == files
    else:
        assert [line.split(": ")[0] for line in text.splitlines()] == files


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (b"a\0b\0", "NUL bytes"),
        ("photo.png\n".encode("utf-16"), "NUL bytes"),
        (b"gone-\xe9.png\n", "gone-\\xe9.png: no such file"),
        (b"\n \n", "names no photos"),
        ("gone\u2028on\x85.png\n".encode(), "gone\\u2028on\\x85.png: no such file"),
    ],
)
def test_odd_lists_on_standard_input(listed: bytes, words: str, place: Place) -> None:
    ended = subprocess.run(
        python("predict", str(place.run), "-"), input=listed, capture_output=True, check=False
    )
    assert ended.returncode == 2
    assert words in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


# What a terminal would obey, reorder or hide: in names of files, classes and models, and in files.
HOSTILE = {
    "a title": "\x1b]0;owned\x07",
    "a colour of eight bits": "\x9b31m",
    "another direction": "\u202egnp.exe",
    "an isolate": "\u2067x\u2069",
    "a second line": "a\nedge-sharpzo: all is well",
    "a line of another kind": "a\u2028b",
    "a line begun again": "a\rsafe",
    "a mark without a width": "a\u200bb",
    "bytes that are no text": "\udcff\udc9b",
    "rich's marks": "[bold red]x[/bold red] [/]",
}


def is_safe(printed: bytes) -> bool:
    """Whether nothing of it but line ends acts on a terminal."""
    text = printed.decode("utf8")  # raises for bytes that are no text
    plain = text.replace("\r\n", "\n").replace("\n", "")
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in plain)


def on_a_terminal(*arguments: object, listed: str | None = None) -> Any:
    """A command in this process, whose output is safe, and on stderr one line for each fault."""
    given = None if listed is None else os.fsencode(listed)
    words = [str(word) for word in arguments]
    ended = CliRunner().invoke(app, words, input=given, catch_exceptions=False)
    assert is_safe(ended.stdout_bytes), ended.stdout_bytes
    assert is_safe(ended.stderr_bytes), ended.stderr_bytes
    return ended


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_of_files_are_shown_and_not_obeyed(kind: str, place: Place) -> None:
    name = HOSTILE[kind].replace("/", "|")
    folder = place.tmp / f"photos {name}"
    folder.mkdir()
    shutil.copy(photo(place), folder / f"{name}.png")
    (folder / f"bad {name}.png").write_bytes(b"no photo")
    for more in ([], ["--csv"], ["--json"]):
        ended = on_a_terminal("predict", place.run, folder, *more)
        assert ended.exit_code == 0
        assert len(ended.stderr.splitlines()) == 1
        assert len(ended.stdout.splitlines()) == {"": 1, "--csv": 3}.get("".join(more), 27)
    files = [row["file"] for row in json.loads(ended.stdout)]
    assert [Path(file).name for file in files] == sorted(os.listdir(folder))  # noqa: PTH208
    for arguments in (
        ["predict", place.run, place.tmp / name],
        ["predict", place.tmp / name, folder],
        ["eval", place.run, "--data", folder],
        ["tune", "--data", folder, "--onnx", place.onnx],
        ["tune", "--data", place.photos, "--onnx", place.tmp / name],
        ["tune", "--resume", place.tmp / name],
        ["info", place.tmp / name],
        ["compare", place.tmp / name, place.run],
        ["doctor", "--provider", name],
        ["doctor", "--onnx", name],
        [f"--{name}"],
        [name],
        ["tune", f"--{name}"],
        ["tune", "--shots", name],
        ["info", place.run, name],
        ["tune", "--data", place.photos, "--method", name],
    ):
        ended = on_a_terminal(*arguments)
        assert ended.exit_code == 2, arguments
        assert ended.stderr.splitlines()[-1].startswith("edge-sharpzo: "), arguments
        assert not ended.stderr.splitlines()[-1].startswith("edge-sharpzo: all is well")


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_files_hold_is_shown_and_not_obeyed(kind: str, place: Place) -> None:
    text = HOSTILE[kind]
    run = Path(shutil.copytree(place.run, place.tmp / "run"))
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"method": text, "stopped_because": text, "provider": text}
    summary["model"]["name"] = text
    (run / "summary.json").write_text(json.dumps(summary))
    held, both = on_a_terminal("info", run), on_a_terminal("compare", run, run, "--json")
    if is_line(text):
        assert json.loads(held.stdout)["method"] == text
        assert json.loads(both.stdout)[0]["model"] == text
    else:  # no run writes such text
        assert (held.exit_code, both.exit_code) == (2, 2)
    table = on_a_terminal("compare", run, run).stdout
    if kind == "rich's marks":
        assert text in " ".join(table.split())
    card = place.edited_card('"name": "', f'"name": {json.dumps(text)[:-1]}')
    on_a_terminal("info", card)
    on_a_terminal("doctor", "--onnx", card)
    (run / "config.json").write_text(json.dumps({text: text, "options": text}))
    for command in (["tune", "--resume", run], ["predict", run, place.photos]):
        on_a_terminal(*command)


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_of_classes_are_shown_and_not_obeyed(kind: str, place: Place) -> None:
    run = Path(shutil.copytree(place.run, place.tmp / "run"))
    prompt = TunedPrompt.load(run)
    # JSON's escapes keep what is no text.
    labels = {"folders": [f"{HOSTILE[kind]}{i}" for i in range(3)], "names": prompt.names}
    tensors, metadata = load_tensors(run / "prompt.safetensors")
    save_tensors(run / "prompt.safetensors", tensors, metadata | {"labels": json.dumps(labels)})
    for more in ([], ["--csv"], ["--json"]):
        on_a_terminal("predict", run, photo(place), *more)
    on_a_terminal("eval", run, "--data", place.photos)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\ufe63", "\t=", "\r="])
def test_a_spreadsheet_computes_nothing(
    sign: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder("here"))
    name = f"{sign}1+1.png"
    shutil.copy(photo(place), name)
    ended = on_a_terminal("predict", place.run, "-", "--csv", listed=f"{name}\nplain.png\n")
    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert rows[0]["file"] == (
        "\\" + name.replace("\t", "t").replace("\r", "r") if sign[1:] else f"'{name}"
    )
    assert rows[1]["file"] == "plain.png"
    assert 0 < float(rows[0]["probability"]) <= 1
    ended = on_a_terminal("predict", place.run, "-", "--json", listed=f"{name}\n")
    assert json.loads(ended.stdout)[0]["file"] == name


FLAGS = [
    ("`shots=0`: ask for one", (), "--shots 0: ask for one"),
    ("add `onnx`, or leave `preset` out", (), "add --onnx, or leave --preset out"),
    ("choose another (`context_tokens`).", (), "choose another (--context-tokens)."),
    ("go on by `resume=my run`, or", (), "go on by --resume 'my run', or"),
    ("go on by `resume=a`b`", (), "go on by --resume 'a`b'"),
    ("`make export` on a workstation", (), "`make export` on a workstation"),
    ("/photos/`shots`/x holds none", (), "/photos/`shots`/x holds none"),
    ("class '`head`' has 2, `shots` asks for 4", (), "class '`head`' has 2, --shots asks for 4"),
    ("my`out`put is a file", (), "my`out`put is a file"),
    ("`data` holds no photos: give `data`", ("`data`x", "a`out`"), None),
    ("`seed`s/a is gone", ("`seed`s/a",), "`seed`s/a is gone"),
    (
        "in a `budget` folder: give `budget`s",
        ("a `budget` folder",),
        "in a `budget` folder: give `budget`s",
    ),
]


@pytest.mark.parametrize(("text", "given", "wanted"), FLAGS)
def test_options_become_flags_and_what_others_wrote_does_not(
    text: str, given: tuple[str, ...], wanted: str | None
) -> None:
    assert as_flags(text, given) == (wanted or "--data holds no photos: give --data")


def test_a_folder_that_is_called_as_an_option(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder("here"))
    Path("`shots`").mkdir()
    monkeypatch.setattr("sys.argv", ["edge-sharpzo", "predict", "run", "`shots`"])
    assert "`shots` holds no photos" in on_a_terminal("predict", place.run, "`shots`").stderr


@pytest.mark.parametrize("text", ["photos leave this device: pi takes them", "pi is lost", "5 %"])
def test_a_warning_is_one_in_every_command(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`tune`, `check` and `sweep` tell events; `predict`, `eval` and `doctor` what engines say."""
    Display().hear(Note(text, warning=True))
    tell(text, True)
    assert capsys.readouterr().err == f"warning: {text}\n" * 2
