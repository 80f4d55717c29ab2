"""The score of being known: what it is made of, and that it keeps what it is to keep."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from helpers import invoke, tune, write_photos
from PIL import Image

import edge_sharpzo
from edge_sharpzo.classifier.heads import leaning_gaussians, text_gda
from edge_sharpzo.classifier.known import Known, KnownPhotos, Sum, _lowest, known_photos
from edge_sharpzo.classifier.leave_one_out import left_out_logits
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.photos.labelled import Split, Splits
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.tensors import load_tensors, save_tensors

NOTHING = np.zeros((0, 8), np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


RANDOM = np.random.default_rng(1)
CENTRES = unit(RANDOM.standard_normal((4, 8)))
FAR = unit(RANDOM.standard_normal((400, 8)))  # anywhere; some lie near a class
WORDS = unit(RANDOM.standard_normal((50, 8)))


def clouds(seed: int, each: int) -> Split:
    """Photos about the centres."""
    labels = np.repeat(np.arange(4), each)
    noise = np.random.default_rng(seed).standard_normal((len(labels), 8)) * 0.15
    return Split(unit(CENTRES[labels] + noise), labels)


def learnt(
    shots: int = 12, val: int = 0, background: np.ndarray = NOTHING, **options: float
) -> KnownPhotos | None:
    photos = [clouds(seed, each) for seed, each in ((0, shots), (1, val), (2, 60), (3, 0))]
    told = {"scale": 10.0, "keep": 0.9} | options
    return known_photos(Splits(*photos), CENTRES, WORDS, background, **told)


@pytest.mark.parametrize("background", [NOTHING, FAR[:40]], ids=["alone", "background"])
@pytest.mark.parametrize("shots", [3, 6, 12])
def test_it_keeps_its_share_and_refuses_what_lies_elsewhere(
    shots: int, background: np.ndarray
) -> None:
    found = learnt(shots, background=background)
    assert found
    held_out, strangers = clouds(2, 60).features, FAR[200:]
    assert (found.known.score(held_out) >= 0).mean() >= 0.78  # about 0.9 of those to come
    assert (found.known.score(strangers) < 0).mean() >= 0.8
    assert len(found.scores) == 4 * shots
    assert len(found.background) == len(background)


def test_a_background_helps() -> None:
    """Near photos lie between two classes."""
    noise = np.random.default_rng(5).standard_normal((200, 8)) * 0.2
    near = unit(2 * CENTRES[0] + CENTRES[1] + noise)
    alone, beside = learnt(), learnt(background=near[:20])
    assert alone
    assert beside
    refused = [(each.known.score(near[20:]) < 0).mean() for each in (alone, beside)]
    assert refused[1] > refused[0] + 0.1
    assert (beside.background < 0).mean() == pytest.approx(refused[1], abs=0.2)


@pytest.mark.parametrize(
    ("scores", "keep", "threshold"),
    [
        (range(1, 20), 0.95, 1.0),  # the first of 20 places
        (range(1, 40), 0.95, 2.0),
        (range(1, 100), 0.95, 5.0),
        (range(1, 100), 0.5, 50.0),
        ([5.0, 3.0, 9.0], 0.95, 1.0),  # too few: as far below the lowest as the next is above
        ([2.0] * 30, 0.9, 2.0),
    ],
)
def test_the_threshold_has_the_rank_that_keeps_the_share(
    scores: list[float], keep: float, threshold: float
) -> None:
    assert _lowest(np.array(scores, float), keep) == pytest.approx(threshold)


def test_new_photos_are_kept_with_the_probability_that_was_asked_for() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 30))
    kept = np.mean([row[29] >= _lowest(row[:29], 0.9) for row in draws])
    assert kept == pytest.approx(0.9, abs=0.02)


def test_the_density_is_that_of_the_head() -> None:
    """Differences between classes are those of `text_gda`'s logits; the rest is the distance."""
    found = learnt(8)
    assert found
    photos = clouds(0, 8)
    means, precision, _ = leaning_gaussians(*photos, CENTRES)
    x = clouds(2, 5).features.astype(float)
    apart = x[:, None] - means
    densities = -np.einsum("nkd,de,nke->nk", apart, precision, apart) / 2
    logits = text_gda(*photos, CENTRES).logits(x)
    assert densities - densities[:, :1] == pytest.approx(logits - logits[:, :1], abs=1e-3)
    plain = replace(found.known, sums=[Sum(1.0, 0.0, 0.0, 0.0, 0.0)], threshold=0.0)
    assert plain.score(x) == pytest.approx(np.log(np.exp(densities).sum(axis=1)), rel=1e-4)


def test_other_places_are_seen_by_the_same_covariance() -> None:
    photos, places = clouds(0, 4), FAR[:7]
    both = left_out_logits(*photos, CENTRES, places)
    assert both[:, :4] == pytest.approx(left_out_logits(*photos, CENTRES))
    for at in (0, 5, 15):
        rest = np.arange(len(photos.labels)) != at
        within = (
            photos.features[rest]
            - np.stack(
                [photos.features[rest][photos.labels[rest] == k].mean(axis=0) for k in range(4)]
            )[photos.labels[rest]]
        )
        everyone = np.stack([photos.features[photos.labels == k].mean(axis=0) for k in range(4)])
        whole = photos.features - everyone[photos.labels]
        ridge = 2.0 * (whole.astype(float) ** 2).sum() / (len(whole) - 1)
        precision = 8 * np.linalg.inv(within.T.astype(float) @ within + ridge * np.eye(8))
        apart = photos.features[at] - places
        wanted = -np.einsum("pd,de,pe->p", apart, precision, apart) / 2
        assert both[at, 4:] == pytest.approx(wanted, rel=1e-3)


def test_photos_that_are_alone_in_their_class_set_no_threshold() -> None:
    assert learnt(1) is None
    found = learnt(1, val=3)
    assert found
    assert len(found.scores) == 12  # validation photos do


def test_classes_without_photos_are_known_too() -> None:
    found = learnt()
    assert found
    name = unit(-CENTRES.sum(axis=0, keepdims=True))
    more = found.known.with_classes(name.astype(float), name)
    assert more.fits(5, 8)
    assert found.known.score(name)[0] < 0 <= more.score(name)[0]


def test_it_is_read_as_it_was_written() -> None:
    found = learnt(background=FAR[:20])
    assert found
    again = Known.restored(found.known.numbers(), found.known.tensors())
    assert (again.score(FAR) == found.known.score(FAR)).all()
    assert again.sums == found.known.sums
    assert len(again.sums) == 2


# Through the commands.


@pytest.fixture(scope="module")
def run(tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known") / "run"
    tune(tiny_onnx, photos, folder, "--budget", 60)
    return folder


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of no colour of the classes: pure noise, black and white."""
    root = tmp_path_factory.mktemp("strange")
    rng = np.random.default_rng(0)
    for i in range(6):
        grey = rng.integers(0, 2, (40, 50, 1), np.uint8) * 255
        Image.fromarray(np.repeat(grey, 3, axis=2)).save(root / f"{i}.png")
    return root


def test_predict_refuses_what_it_was_not_shown(run: Path, photos: Path, strange: Path) -> None:
    ours = sorted((photos / "test").rglob("*.png"))
    rows = json.loads(invoke("predict", run, *ours, strange, "--json").stdout)
    assert [row["known"] for row in rows[len(ours) :]] == [False] * 6
    assert sum(row["known"] for row in rows[: len(ours)]) >= len(ours) - 3
    assert not any(row["sure"] for row in rows if not row["known"])
    assert all(row["class"] for row in rows)  # the nearest
    lines = invoke("predict", run, strange).stdout.splitlines()
    assert all(": none of these; nearest: " in line for line in lines)
    table = invoke("predict", run, strange, "--csv").stdout.splitlines()
    assert table[0] == "file,class,probability,sure,known,error"
    assert table[1].endswith(",False,False,")


def test_predict_and_the_graph_agree(run: Path, photos: Path, strange: Path) -> None:
    session = onnxruntime.InferenceSession(
        run / "classifier.onnx", providers=["CPUExecutionProvider"]
    )
    about = json.loads(session.get_modelmeta().custom_metadata_map["edge_sharpzo_classifier"])
    assert about["known"]["name"] == "known"
    assert about["known"]["keep"] == 0.95
    classifier = edge_sharpzo.Classifier.load(run)
    for file in [*sorted((photos / "test").rglob("*.png")), *sorted(strange.iterdir())]:
        wanted = classifier.known(classifier.encode([file], print)[0])
        assert wanted is not None
        pixels = np.asarray(Image.open(file).convert("RGB"))
        probabilities, known = session.run(["probabilities", "known"], {"image": pixels})
        assert known.shape == (1,)
        assert known == pytest.approx(wanted, abs=0.05)  # pixels differ by a level here and there
        assert probabilities.shape == (1, 3)


def test_eval_tells_what_is_refused(run: Path, photos: Path, strange: Path) -> None:
    told = invoke("eval", run, "--data", photos, "--foreign", strange)
    assert "100.0 % of 6 photos of none of the classes are refused" in told.stdout
    found = json.loads(invoke("eval", run, "--foreign", strange, "--json").stdout)
    assert (found["accuracy"], found["photos"]) == (None, 0)
    assert (found["foreign"], found["foreign_refused"]) == (6, 1.0)
    both = json.loads(invoke("eval", run, "--data", photos, "--json").stdout)
    assert both["refused"] <= 0.2
    assert (both["foreign"], both["foreign_refused"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ((), "give --data, labelled photos, or --foreign"),
        (("--foreign", "nowhere"), "is not a folder: give --foreign"),
        (("--foreign", "empty"), "holds no photos: give --foreign"),
        (("--foreign", "texts"), "holds no photos (files left out: 1 of the kind .txt)"),
        (("--foreign", "same", "--class-names", "names.txt"), "--class-names goes with --data"),
    ],
)
def test_eval_says_what_is_missing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], cause: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "texts", "same"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    result = invoke("eval", run, *arguments)
    assert result.exit_code == 2
    assert cause in result.stderr


def test_the_summary_and_the_report_tell_it(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["known"]["keep"] == 0.95
    assert summary["known"]["photos"] == 18
    assert summary["known"]["kept"] >= 0.8
    assert summary["known"]["background"] == 0
    page = (run / "report.html").read_text()
    assert "None of these" in page


def test_one_photo_per_class_cannot_tell(tiny_onnx: Path, tmp_path: Path) -> None:
    for name, hue in (("red", 0), ("green", 90), ("blue", 170)):
        write_photos(tmp_path / "few" / name, hue, 1, seed=1)
    out = tmp_path / "run"
    told = invoke(
        *("tune", "--onnx", tiny_onnx, "--data", tmp_path / "few", "--out", out, "--budget", 40)
    )
    assert '"none of these" cannot be told: too few photos' in told.stdout
    photo = tmp_path / "few" / "red" / "000.png"
    answer = invoke("predict", out, photo, "--json")
    (row,) = json.loads(answer.stdout)
    assert row["known"] is None
    assert "cannot tell photos of none of its classes" in answer.stderr
    session = onnxruntime.InferenceSession(
        out / "classifier.onnx", providers=["CPUExecutionProvider"]
    )
    assert [each.name for each in session.get_outputs()] == ["probabilities"]


def without_known(prompt: Path) -> None:
    """As an older version wrote it."""
    tensors, told = load_tensors(prompt)
    del told["known"]
    save_tensors(prompt, {n: t for n, t in tensors.items() if not n.startswith("known_")}, told)


def test_a_run_of_an_older_version_still_predicts(run: Path, photos: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    without_known(old / "prompt.safetensors")
    summary = json.loads((old / "summary.json").read_text())
    del summary["known"]
    (old / "summary.json").write_text(json.dumps(summary))
    answer = invoke("predict", old, photos / "test" / "red_things" / "000.png", "--json")
    assert answer.exit_code == 0, answer.stderr
    assert json.loads(answer.stdout)[0]["known"] is None
    assert "cannot tell" in answer.stderr
    result = json.loads(invoke("eval", old, "--data", photos, "--json").stdout)
    assert result["refused"] is None
    assert any("cannot tell" in note for note in result["notes"])
    compared = invoke("compare", old, run)
    assert compared.exit_code == 0, compared.stderr


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("threshold", float("nan")),
        ("threshold", "high"),
        ("keep", 2.0),
        ("sums", []),
        ("sums", [[1.0, 2.0]]),
        ("sums", [[1.0, 2.0, float("inf"), 0.0, 0.0]]),
        ("sharpness", None),
        ("sharpness", -1.0),
        ("sums", [[1e308, 1e308, 1e308, 1e308, 0.0]]),
    ],
)
def test_an_edited_threshold_is_damage(
    run: Path, photos: Path, tmp_path: Path, part: str, value: object
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    file = broken / "prompt.safetensors"
    tensors, told = load_tensors(file)
    told["known"] = json.dumps(json.loads(told["known"]) | {part: value})
    save_tensors(file, tensors, told)
    result = invoke("predict", broken, photos / "test" / "red_things" / "000.png")
    assert result.exit_code == 2
    assert "prompt.safetensors is damaged" in result.stderr
    assert "tune again" in result.stderr


def test_python_refuses_features_of_another_size(run: Path) -> None:
    with pytest.raises(UserError, match="expected"):
        edge_sharpzo.Classifier.load(run).known(np.zeros((2, 3)))


def test_words_are_always_the_same_and_none_of_the_classes(tiny_onnx: Path) -> None:
    prompts = ClipOnnx(tiny_onnx).prompts
    words = prompts.words(12)
    assert words == prompts.words(12)
    assert len(words) == len(set(words))
    assert all(word.isalpha() and len(prompts.encode(word)) == 1 for word in words)
    but = prompts.words(12, [f"some {words[0].upper()} here"])
    assert words[0] not in but


def test_a_near_background_lets_nothing_far_pass() -> None:
    """Far photos are unlike the background, too, and no less refused for it."""
    noise = np.random.default_rng(5).standard_normal((20, 8)) * 0.2
    near = unit(2 * CENTRES[0] + CENTRES[1] + noise)
    far = unit(-CENTRES.sum(axis=0) + 0.5 * np.random.default_rng(6).standard_normal((100, 8)))
    alone, beside = learnt(), learnt(background=near)
    assert alone
    assert beside
    refused = [(each.known.score(far) < 0).mean() for each in (alone, beside)]
    assert refused[1] >= refused[0] - 0.05


@pytest.mark.parametrize("which", ["one picture", "one picture each", "rounding"])
def test_photos_that_are_all_alike_set_no_threshold(which: str) -> None:
    labels = np.repeat(np.arange(4), 6)
    features = np.repeat(CENTRES[:1], 24, axis=0) if which == "one picture" else CENTRES[labels]
    if which == "rounding":
        features = features * (1 + 1e-7 * np.random.default_rng(0).standard_normal((24, 1)))
    photos, none = Split(features.astype(np.float32), labels), clouds(0, 0)
    assert (
        known_photos(Splits(photos, none, none, none), CENTRES, WORDS, NOTHING, 10.0, 0.9) is None
    )


@pytest.mark.parametrize("tensor", ["known_means", "known_precision", "known_words"])
@pytest.mark.parametrize("value", [1e30, -1e30])
def test_numbers_that_no_run_has_are_damage(
    run: Path, photos: Path, tmp_path: Path, tensor: str, value: float
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    tensors, told = load_tensors(broken / "prompt.safetensors")
    tensors[tensor] = np.full_like(tensors[tensor], value)
    save_tensors(broken / "prompt.safetensors", tensors, told)
    result = invoke("predict", broken, photos / "test" / "red_things" / "000.png")
    assert result.exit_code == 2
    assert "is damaged" in result.stderr


def test_few_photos_are_said_to_be_few(tiny_onnx: Path, tmp_path: Path) -> None:
    for name, hue in (("red", 0), ("green", 90), ("blue", 170)):
        write_photos(tmp_path / "few" / name, hue, 4, seed=1)
    told = invoke(
        *("tune", "--onnx", tiny_onnx, "--data", tmp_path / "few", "--out", tmp_path / "run"),
        *("--budget", 40),
    )
    assert '"none of these" is set by 12 photos alone' in told.stdout


def test_eval_where_nothing_is_left_of_one_side(run: Path, photos: Path, strange: Path) -> None:
    result = invoke("eval", run, "--data", photos / "train", "--foreign", strange)
    assert result.exit_code == 2
    assert "no photo of --data is left to count" in result.stderr
    result = invoke("eval", run, "--foreign", photos / "train")
    assert result.exit_code == 2
    assert "no photo of --foreign is left to count" in result.stderr
