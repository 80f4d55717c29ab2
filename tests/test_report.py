"""`report.html` shows all that it should, from one file, without the network."""

import json
import re
import shutil
import subprocess
import tracemalloc
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers import invoke, run_tune, tune, write_photos

import edge_sharpzo.run
from edge_sharpzo.classifier.fusion import Settled
from edge_sharpzo.classifier.tuned import TunedPrompt
from edge_sharpzo.photos.found import Photos
from edge_sharpzo.runs.advice import advice
from edge_sharpzo.runs.charts import Line, line_chart
from edge_sharpzo.runs.records import Accuracies, ClassifierScores, HeadScores, Scores, Summary
from edge_sharpzo.runs.report import Seen, _confused, write_report
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.runs.without_photos import WithoutPhotos
from edge_sharpzo.tuning.records import Record

SECTIONS = (
    "What to try next",
    "Loss over queries",
    "Validation accuracy over queries",
    "By class",
    "Confusion matrix",
    "Misread most confidently",
    "How far to trust a probability",
    "None of these",
    "Prompt and closed-form head",
    "Cost",
    "Settings",
    "Versions",
)
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Outline(HTMLParser):
    """Headings, what would be fetched, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [
            value or ""
            for name, value in attrs
            if name in ("src", "href") and not (value or "").startswith("data:")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def run(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    data = Path(shutil.copytree(photos, folder / "data"))
    # One test photo lies in the wrong class, so that it must be misread; its name must not be taken
    # for markup.
    wrong = next((data / "test" / "red_things").iterdir())
    wrong.rename(data / "test" / "blue_things" / "<b>&.png")
    tune(tiny_onnx, data, folder / "run", "--budget", 400)
    return folder / "run"


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    assert not parser.open
    return parser


def test_every_section_is_there_and_nothing_is_fetched(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf8")
    found = outline(page)
    assert tuple(found.headings) == SECTIONS
    assert found.fetched == []
    assert not re.search(r"url\(|<script|@import", page)
    assert len(page) < 3_000_000


def test_its_figures_are_those_of_the_summary(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf8")
    summary = json.loads((run / "summary.json").read_text())
    for name in ("zero_shot", "tuned", "head", "classifier"):
        assert f"{100 * summary['accuracy'][name]['test']:.1f} %" in page
    assert f"{summary['queries']['total']:,} (" in page
    assert summary["calibration"]["temperature"] > 0
    assert "&lt;b&gt;&amp;.png" in page
    assert "<b>&.png" not in page


def test_without_held_out_photos(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos / "train", tmp_path / "data"))
    tune(tiny_onnx, data, tmp_path / "run", "--budget", 60)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    outline(page)
    assert "No photos were held out" in page


def test_hundreds_of_classes(tiny_onnx: Path, tmp_path: Path) -> None:
    for label in range(120):
        write_photos(tmp_path / "data" / f"thing_{label}", label, 3, seed=label)
    done = run_tune(tiny_onnx, tmp_path / "data", tmp_path / "run", "--shots", 1, "--budget", 60)
    assert done.exit_code == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    outline(page)
    assert "90 classes with fewer mistakes are left out" in page


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(0, 0), (1, 1)], None),
        ([(0, 1), (2, 0), (2, 0), (1, 1), (1, 1), (1, 1)], ("c", "a", 2)),
        ([(1, 2), (0, 2), (1, 0)], ("a", "c", 1)),  # the first class of as many
        ([], None),
    ],
)
def test_the_two_that_are_taken_for_each_other_most(
    pairs: list[tuple[int, int]], expected: tuple[str, str, int] | None
) -> None:
    assert _confused(Counter(pairs), [*"abc"]) == expected


def test_a_report_grows_with_the_photos_and_not_with_all_pairs_of_classes(
    run: Path, tmp_path: Path
) -> None:
    """Of 9,000 classes all pairs were 600 MB; their names and scores are a few."""
    prompt = TunedPrompt.load(run)
    rows = np.zeros((9000, prompt.text_features.shape[1]), np.float32)
    rows[:, 0] = np.linspace(-1, 1, 9000)
    many = replace(
        prompt,
        folders=[f"c{i}" for i in range(9000)],
        text_features=rows,
        head=None,
        by_name=None,
        without_photos=[],
    )
    photos = Photos([Path("gone.png")] * 4, np.array([8999, 8999, 5, 7]))
    features = np.zeros((4, rows.shape[1]), np.float32)
    features[:, 0] = 1.0  # all four are taken for the last class
    tracemalloc.start()
    summary, config = Summary.read(run), RunConfig.read(run)
    write_report(tmp_path, summary, config, [], many, Seen(photos, features, {}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    page = (tmp_path / "report.html").read_text(encoding="utf8")
    assert "8970 classes with fewer mistakes are left out" in page
    assert re.search(r"<th>c5</th>(<td[^>]*></td>){30}", page)  # its photo is taken for c8999
    assert not re.search(r"<th>c8999</th>", page)


def test_the_results_are_there_when_the_report_fails(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(edge_sharpzo.run, "write_report", fails)
    done = run_tune(tiny_onnx, photos, tmp_path / "run", "--shots", 2, "--budget", 60)
    assert done.exit_code == 2
    assert "make room there and go on with --resume" in done.stderr
    left = {file.name for file in (tmp_path / "run").iterdir()}
    assert {"prompt.safetensors", "history.jsonl", "summary.json", "classifier.onnx"} <= left
    monkeypatch.undo()
    assert invoke("tune", "--resume", tmp_path / "run").exit_code == 0
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_opens_it_without_errors_or_requests(
    run: Path, tmp_path: Path, dark: bool
) -> None:
    shot, log = tmp_path / "shot.png", tmp_path / "net.json"
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    ]
    command += [
        "--disable-component-update",
        "--disable-quic",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
    ]
    command += [
        f"--log-net-log={log}",
        "--window-size=412,5000",
        f"--screenshot={shot}",
        (run / "report.html").as_uri(),
    ]
    done = subprocess.run(
        [*command, *(["--force-dark-mode"] if dark else [])],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert shot.stat().st_size > 50_000
    assert "CONSOLE" not in done.stderr
    events = json.loads(log.read_text())["events"]
    asked = {
        urlsplit(e["params"]["url"]).hostname
        for e in events
        if e.get("params", {}).get("url", "").startswith("http")
    }
    assert [
        host for host in asked if not host.endswith((".google.com", ".googleapis.com", ".gvt1.com"))
    ] == []  # the browser's own


def test_charts() -> None:
    curve = line_chart(
        [Line("a", [0, 10, 20], [1.0, None, 0.5]), Line("b", [0], [1.0])],
        "queries",
        [(10, "later")],
        percent=True,
    )
    assert curve.count("<polyline") == 1
    assert "later" in curve
    assert "100 %" in curve
    assert line_chart([Line("a", [0, 1], [None, float("nan")])], "queries") == ""
    numbers = [
        float(v) for v in re.findall(r'points="([^"]+)"', curve)[0].replace(",", " ").split()
    ]
    assert numbers[0] < numbers[2]
    assert numbers[1] < numbers[3]  # lower values lie lower, at a larger y


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ('<meta http-equiv="refresh" content="0;url=//x">', "&lt;meta http-equiv=&quot;refresh"),
        ("</text></svg><script>", "&lt;/text&gt;&lt;/svg&gt;&lt;script&gt;"),
        ('"><img src=x onerror=1>', "&quot;&gt;&lt;img src=x"),
        ("\u202eab\udcff\n", "\\u202eab\\xff\\n"),
    ],
)
def test_what_others_wrote_is_text_in_charts(hostile: str, shown: str) -> None:
    curve = line_chart([Line(hostile, [0, 10], [1.0, 0.5])], hostile, [(5, hostile)])
    assert curve.count(shown) == 5  # the label that is read aloud has two
    assert hostile not in curve
    outline(f"<p>{curve}</p>")


@pytest.mark.parametrize(
    "hostile", ['<meta http-equiv="refresh">', "\u202ea\udcff\x1b", "{{ 7*7 }}"]
)
def test_what_others_wrote_is_text_in_the_page(hostile: str, run: Path, tmp_path: Path) -> None:
    summary, config = Summary.read(run), RunConfig.read(run)
    prompt = TunedPrompt.load(run)
    prompt = replace(prompt, folders=[f"{hostile}{i}" for i in range(len(prompt.folders))])
    summary = replace(
        summary,
        method=hostile,
        model=replace(summary.model, name=hostile, sha256=hostile),
        stopped_because=hostile,
        provider=hostile,
        versions={hostile: hostile},
        queries=replace(summary.queries, by_kind={hostile: 1}),
    )
    config = replace(config, options=replace(config.options, template=hostile))
    records = [Record(n, n, hostile, 1.0, 0.5, 1.0, False) for n in (0, 10)]
    root = Path("photos")
    photos = Photos([root / f"{hostile}.png"] * 3, np.arange(3))
    features = np.eye(3, prompt.text_features.shape[1], dtype=np.float32)
    write_report(tmp_path, summary, config, records, prompt, Seen(photos, features, {}))
    page = (tmp_path / "report.html").read_text(encoding="utf8")
    outline(page)
    assert page.count("{{ 7*7 }}") > 10 if hostile == "{{ 7*7 }}" else hostile not in page
    assert not re.search("[\u202e\x1b]", page)


def test_advice_fits_the_result(run: Path) -> None:
    whole = Summary.read(run)
    accuracy = Accuracies(
        zero_shot=Scores(None, 0.2),
        tuned=Scores(None, 0.5),
        head=HeadScores("text-gda", None, 0.7),
        classifier=ClassifierScores("text-gda", None, 0.7),
    )
    summary = replace(
        whole,
        accuracy=accuracy,
        data=replace(whole.data, test=50, shots=4),
        model=replace(whole.model, name="ViT-B-16"),
    )
    tips = " ".join(advice(summary, [], ("jute", "linen", 7)))
    for word in ("More shots: 4", "'jute' is taken for 'linen' 7 times", "template", "budget"):
        assert word in tips
    assert "embedded model" not in tips
    good = replace(accuracy, classifier=ClassifierScores("text-gda", None, 0.97))
    assert advice(replace(summary, accuracy=good), [], None) == [
        "At least 19 of 20 held-out photos are right: nothing needs to be done."
    ]


def measured(whole: Summary, **parts: Any) -> Summary:
    """A mediocre run whose prompt is as good as its template."""
    accuracy = Accuracies(
        zero_shot=Scores(None, 0.6),
        tuned=Scores(None, 0.6),
        head=HeadScores("text-gda", None, 0.6),
        classifier=ClassifierScores("text-gda", None, 0.7),
    )
    return replace(whole, **{"accuracy": accuracy, **parts})


@pytest.mark.parametrize(
    ("train", "borrowed", "shots", "told"),
    [
        (3, 0, 16, "More photos: about 1 per class"),
        (7, 2, 16, "More photos: about 3 per class"),
        (12, 0, 8, "More photos: about 4 per class"),
        (12, 0, 4, "More shots: 4 photos per class"),
        (3, 0, 1, "More shots: 1 photos per class"),
        (48, 0, 16, None),
        (36, 12, 16, None),
    ],
)
def test_advice_tells_photos_that_lack_from_shots(
    run: Path, train: int, borrowed: int, shots: int, told: str | None
) -> None:
    whole = Summary.read(run)
    data = replace(whole.data, train=train, borrowed=borrowed, shots=shots)
    tips = advice(measured(whole, data=data), [], None)
    assert [tip.partition(" are learnt")[0] for tip in tips if tip.startswith("More")] == (
        [told] if told else []
    )
    untested = replace(whole.accuracy, classifier=ClassifierScores("text-gda", None, None))
    tips = advice(replace(whole, data=data, accuracy=untested), [], None)
    assert tips[0].startswith("No photos were held out")
    assert len(tips) == 1 + bool(told)


@pytest.mark.parametrize(
    ("confused", "cure"),
    [
        (("jute", "linen", 7), "give both clearer class names"),
        (("silk", "linen", 7), "take photos of 'silk', known by name alone"),
        (("linen", "wool", 2), "take photos of 'wool', known by name alone"),
        (("silk", "wool", 2), "take photos of 'silk' and 'wool', known by name alone"),
    ],
)
def test_a_class_known_by_name_needs_photos(
    run: Path, confused: tuple[str, str, int], cure: str
) -> None:
    whole = Summary.read(run)
    bare = WithoutPhotos(["silk", "wool"], 5, 0.2, 0.8, 0.9)
    tips = advice(measured(whole, without_photos=bare), [], confused)
    assert tips[0].startswith("Take photos of silk, wool: ")
    assert any(tip.endswith(f"{cure}.") or cure in tip for tip in tips[1:])
    level = replace(bare, right=0.8)
    assert "Take photos of" not in " ".join(advice(measured(whole, without_photos=level), [], None))


@pytest.mark.parametrize(
    ("fitted_on", "told"),
    [
        ("no photos", ": the usual one, since there are no photos to fit it on)."),
        ("validation photos", " was fitted on validation photos)."),
        ("training photos, each left out in its turn", " was fitted on training photos, each left"),
        (None, ")."),  # an older run's
    ],
)
def test_what_the_temperature_was_fitted_on(
    run: Path, tmp_path: Path, fitted_on: str | None, told: str
) -> None:
    whole, prompt = Summary.read(run), TunedPrompt.load(run)
    summary = replace(whole, calibration=replace(whole.calibration, fitted_on=fitted_on))
    nothing = np.zeros((1, prompt.text_features.shape[1]), np.float32)
    photos = Photos([tmp_path / "gone.png"], np.zeros(1, int))
    write_report(tmp_path, summary, RunConfig.read(run), [], prompt, Seen(photos, nothing, {}))
    page = (tmp_path / "report.html").read_text(encoding="utf8")
    assert f"before a temperature of {whole.calibration.temperature:.2f}{told}" in page


def test_a_prompt_that_was_dropped_is_told_everywhere(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the console, the summary and the report, whose advice is not to go on with it."""

    def template(*given: Any) -> Settled:
        return Settled(given[2], given[2], is_template=True)

    monkeypatch.setattr(import_module("edge_sharpzo.pipeline.finish"), "settled", template)
    done = run_tune(tiny_onnx, photos, tmp_path / "run", "--shots", 6, "--budget", 50)
    assert done.exit_code == 0, done.output
    assert "\nthe tuned prompt was dropped: its loss on validation photos is no" in done.stdout
    assert "the classifier mixes the template as written with the text-gda head" in done.stdout
    summary = Summary.read(tmp_path / "run")
    assert summary.accuracy.classifier.prompt == "template"
    assert summary.accuracy.tuned == summary.accuracy.zero_shot
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf8")
    assert "<p>The tuned prompt was dropped: its loss on validation photos" in page
    assert "the classifier: template and text-gda" in page
    worse = replace(
        summary.accuracy,
        head=HeadScores("text-gda", None, 0.9),
        tuned=Scores(None, 0.5),
        classifier=replace(summary.accuracy.classifier, test=0.5),
    )
    beaten = replace(summary, accuracy=worse)
    assert "more queries" not in " ".join(advice(beaten, [], None))
    kept = replace(worse, classifier=replace(worse.classifier, prompt="tuned"))
    assert "more queries" in " ".join(advice(replace(beaten, accuracy=kept), [], None))
    untested = replace(summary, data=replace(summary.data, val=0))
    assert "its loss on training photos" in untested.dropped


def test_a_prompt_that_was_kept_is_not_said_to_be_dropped(run: Path) -> None:
    summary = Summary.read(run)
    assert (summary.accuracy.classifier.prompt, summary.dropped) == ("tuned", "")
    assert "was dropped" not in (run / "report.html").read_text(encoding="utf8")
