"""`classifier.onnx` prepares a photo as edge-sharpzo does, or takes prepared pixels."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import Exported, Place, invoke, run_tune, tune
from PIL import Image

import edge_sharpzo
from edge_sharpzo.classifier.image_input import can_take_photos, take_photo
from edge_sharpzo.clip.card import CLASSIFIER_KEY, ImageCard
from edge_sharpzo.clip.images import UnreadableImageError, preprocess, resized
from edge_sharpzo.clip.onnx.messages import ModelProto, node, value_info
from edge_sharpzo.system.machine import OLDEST_ONNXRUNTIME

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
CLASSIFY = Path(__file__).parent.parent / "examples" / "classify.py"
# Of the tower below, of one more or less, of either side alone; tall, wide, a single row; twice as
# large and three times; sizes whose scaled sides lie half-way between whole numbers.
SIZES = [(64, 64), (63, 65), (65, 64), (64, 48), (48, 64), (20, 31), (1, 1), (1, 37), (37, 1)]
SIZES += [(2, 3), (5, 300), (713, 64), (1000, 90), (128, 128), (96, 320), (192, 193), (333, 501)]
SIZES += [(500, 333), (77, 9), (9, 77), (901, 700)]
PHOTO = {"name": "image", "dtype": "uint8", "layout": "HWC", "colours": "RGB"}
PREPARED = {"name": "pixel_values", "dtype": "float32", "layout": "NCHW", "colours": "RGB"}


def pictures(width: int, height: int) -> Iterator[np.ndarray]:
    """Noise, a gradient, and edges of full contrast, [height, width, 3] each."""
    rng = np.random.default_rng([width, height])
    yield rng.integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    slopes = x / max(width - 1, 1), y / max(height - 1, 1), (x + y) / max(width + height - 2, 1)
    yield (255 * np.stack(slopes, -1)).astype(np.uint8)
    yield 255 * np.stack([(x // 3 + y // 5) % 2, x // 7 % 2, y // 2 % 2], -1).astype(np.uint8)


def preparing(card: ImageCard) -> ModelProto:
    """A graph that gives back the pixel values which it makes of a photo."""
    model = ModelProto(ir_version=8)
    model.opset_import.add(version=18)
    model.graph.name = "prepared"
    model.graph.node.append(node("Identity", ["pixel_values"], ["out"]))
    for values, name in ((model.graph.input, "pixel_values"), (model.graph.output, "out")):
        values.append(value_info(name, ["photos", 3, *card.size]))
    take_photo(model.graph, card)
    return model


def opened(model: ModelProto | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (33, 21)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_pixels_are_those_of_preprocess(
    resize_mode: str, interpolation: str, size: tuple[int, int]
) -> None:
    card = ImageCard(size, resize_mode, interpolation, MEAN, STD, fill=117)
    session = opened(preparing(card))
    std = np.array(STD)[:, None, None]
    for width, height in SIZES:
        for picture in pictures(width, height):
            ours = preprocess(Image.fromarray(picture), card)
            (found,) = session.run(None, {"image": picture})[0]
            assert found.shape == ours.shape
            levels = 255 * np.abs(found - ours) * std
            most = 0.01 if interpolation == "nearest" else 2.01
            assert levels.max() < most, f"{width} x {height}: {levels.max()}"


def without(*attributes: str) -> Callable[[ModelProto], None]:
    """Takes attributes from all nodes, as an engine does that passes over them."""

    def edit(model: ModelProto) -> None:
        for each in model.graph.node:
            kept = [found for found in each.attribute if found.name not in attributes]
            del each.attribute[:]
            each.attribute.extend(kept)

    return edit


@pytest.mark.parametrize("size", [(224, 224), (50, 70), (1, 9)])
@pytest.mark.parametrize(
    ("interpolation", "edit", "passes"),
    [
        ("bicubic", without(), True),
        ("bilinear", without(), True),
        ("bilinear", without("cubic_coeff_a"), True),
        ("bilinear", without("antialias", "exclude_outside"), False),
        ("bilinear", without("exclude_outside"), False),
        ("bicubic", without("exclude_outside"), False),
        ("bicubic", without("cubic_coeff_a"), False),
        ("bicubic", without("cubic_coeff_a", "exclude_outside"), False),
    ],
)
def test_an_engine_that_resizes_otherwise_gives_no_number(
    interpolation: str, edit: Callable[[ModelProto], None], passes: bool, size: tuple[int, int]
) -> None:
    model = preparing(ImageCard((32, 32), "shortest", interpolation, MEAN, STD))
    edit(model)
    for picture in pictures(*size):
        found = opened(model).run(None, {"image": picture})[0]
        assert (np.isfinite(found) if passes else np.isnan(found)).all()


@pytest.mark.parametrize(
    ("versions", "can"),
    [
        ([("", 20)], True),
        ([("", 18)], True),
        ([("", 17)], False),
        ([("ai.onnx", 11)], False),
        ([("", 21), ("com.microsoft", 1)], True),
        ([], False),
    ],
)
def test_operators_have_to_be_new_enough(versions: list[tuple[str, int]], can: bool) -> None:
    model = ModelProto()
    for domain, version in versions:
        model.opset_import.add(domain=domain, version=version)
    assert can_take_photos(model) is can


def odd_photos(size: tuple[int, int]) -> list[np.ndarray]:
    sizes = [*SIZES, size, size[::-1], (size[0] + 1, size[1] - 1), (3 * size[0], size[1])]
    return [picture for each in sizes for picture in pictures(*each)]


def told(file: Path) -> dict[str, Any]:
    return json.loads(opened(file).get_modelmeta().custom_metadata_map[CLASSIFIER_KEY])


def check_as_predict(run: Path) -> None:
    """Asserts that `classifier.onnx` says of photos what the run does."""
    session, classifier = opened(run / "classifier.onnx"), edge_sharpzo.Classifier.load(run)
    assert told(run / "classifier.onnx")["input"] == PHOTO
    (wanted,) = session.get_inputs()
    assert (wanted.name, wanted.shape, wanted.type) == (
        "image",
        ["height", "width", 3],
        "tensor(uint8)",
    )
    photos = odd_photos(classifier._clip.card.image.size)
    for photo, answer in zip(photos, classifier.predict(photos), strict=True):
        (row,) = session.run(["probabilities"], {"image": photo})[0]
        wanted = [answer.probabilities[label] for label in classifier.labels]
        assert row == pytest.approx(wanted, abs=0.01)
        if np.sort(wanted)[-1] - np.sort(wanted)[-2] > 0.01:
            assert row.argmax() == np.argmax(wanted)


def test_the_classifier_says_what_predict_says(finished_run: Path) -> None:
    check_as_predict(finished_run)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_weights_of_any_precision(
    precision: str, exported: Callable[[str], Exported], place: Place
) -> None:
    pytest.importorskip("torch")
    from export.convert import export

    export(exported("vit").source, place.tmp / "clip.onnx", precision)
    tune(place.tmp / "clip.onnx", place.photos, place.tmp / "run", "--budget", 50)
    check_as_predict(place.tmp / "run")


def test_weights_beside_the_model(place: Place) -> None:
    onnx.save(
        onnx.load(place.onnx),
        place.tmp / "clip.onnx",
        save_as_external_data=True,
        location="clip.onnx.data",
        size_threshold=1024,
    )
    assert (place.tmp / "clip.onnx.data").stat().st_size > 10_000
    tune(place.tmp / "clip.onnx", place.photos, place.tmp / "run", "--budget", 50)
    for file in place.tmp.glob("clip.onnx*"):
        file.rename(place.tmp / f"moved {file.name}")
    (place.tmp / "elsewhere").mkdir()
    moved = (place.tmp / "run" / "classifier.onnx").rename(place.tmp / "elsewhere" / "c.onnx")
    (row,) = opened(moved).run(None, {"image": np.zeros((30, 40, 3), np.uint8)})[0]
    assert row.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("more", [[], ["--plain-classifier"]])
@pytest.mark.parametrize(
    "names",
    [
        ["image", "probabilities"],
        ["classifier.weight", "classifier.logits", "photo.features"],
        ["photo.constant.0", "photo.1.Slice", "tower.pixel_values"],
    ],
)
def test_names_of_the_model_are_its_own(names: list[str], more: list[str], place: Place) -> None:
    def edit(model: onnx.ModelProto) -> None:
        graph = model.graph
        inner = [n.output[0] for n in graph.node if n.op_type in ("MatMul", "Add")][: len(names)]
        others = dict(zip(inner, names, strict=True))
        for each in graph.node:
            each.input[:] = [others.get(name, name) for name in each.input]
            each.output[:] = [others.get(name, name) for name in each.output]

    tune(place.edited_model(edit), place.photos, place.tmp / "run", "--budget", 50, *more)
    written = [opened(run / "classifier.onnx") for run in (place.tmp / "run", place.run)]
    if more:
        assert written[0].get_inputs()[0].name == "pixel_values"
        return
    for photo in odd_photos((32, 32))[::5]:
        one, other = (session.run(None, {"image": photo})[0] for session in written)
        assert one == pytest.approx(other, abs=1e-5)


def test_the_plain_form_takes_prepared_pixels(place: Place) -> None:
    run = edge_sharpzo.tune(
        place.photos,
        onnx=place.onnx,
        out=place.tmp / "run",
        shots=6,
        budget=50,
        plain_classifier=True,
    )
    files = [run.folder / "classifier.onnx", place.run / "classifier.onnx"]
    plain, usual = map(told, files)
    assert (plain.pop("input"), usual.pop("input")) == (PREPARED, PHOTO)
    assert plain == usual
    sessions = [opened(file) for file in files]
    card = ImageCard(**plain["image"])
    photos = odd_photos(card.size)
    pixels = np.stack([preprocess(Image.fromarray(photo), card) for photo in photos])
    probabilities, known = sessions[0].run(None, {"pixel_values": pixels})
    assert (probabilities.shape, known.shape) == ((len(photos), 3), (len(photos),))
    for row, score, photo in zip(probabilities, known, photos, strict=True):
        (of_photo,), (scored,) = sessions[1].run(None, {"image": photo})
        assert of_photo == pytest.approx(row, abs=0.01)
        assert scored == pytest.approx(score, rel=0.01, abs=0.1)


def test_a_model_of_old_operators_gets_the_plain_form_and_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sharpzo.classifier.image_input.OLDEST_OPSET", 99)
    result = run_tune(place.onnx, place.photos, place.tmp / "run", "--shots", 6, "--budget", 50)
    assert result.exit_code == 0
    assert "takes prepared pixels, as with --plain-classifier: the model's" in result.stderr
    assert told(place.tmp / "run" / "classifier.onnx")["input"] == PREPARED
    asked = ("--shots", 6, "--budget", 50, "--plain-classifier")
    result = run_tune(place.onnx, place.photos, place.tmp / "asked", *asked)
    assert "prepared pixels" not in result.stderr


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_plain_or_not_is_a_truth_value(value: object, place: Place) -> None:
    with pytest.raises(edge_sharpzo.UserError, match="`plain_classifier`: expected `bool`"):
        edge_sharpzo.tune(place.photos, plain_classifier=value)


def test_the_flag_has_no_opposite(place: Place) -> None:
    assert "--no-plain-classifier" not in invoke("tune", "--help").stdout
    result = invoke("tune", "--resume", place.run, "--plain-classifier")
    assert result.exit_code == 2
    assert "leave --plain-classifier out" in result.stderr


@pytest.mark.parametrize("size", [(1, 200_000), (300_000, 1), (2, 700_000)])
def test_a_strip_is_refused_in_either_form(size: tuple[int, int], place: Place) -> None:
    tune(place.onnx, place.photos, place.tmp / "run", "--budget", 50, "--plain-classifier")
    Image.new("RGB", size).save(place.tmp / "strip.png")
    said = set()
    for run in (place.run, place.tmp / "run"):
        command = [sys.executable, CLASSIFY, run / "classifier.onnx", place.tmp / "strip.png"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == ""
        said.add(done.stderr)
    (row,) = json.loads(invoke("predict", place.run, place.tmp / "strip.png", "--json").stdout)
    assert said == {f"skipped {place.tmp / 'strip.png'}: {row['error']}\n"}


@pytest.mark.parametrize(
    ("size", "mode", "fits"),
    [((1, 200_000), "shortest", False), ((1, 200_000), "longest", True), ((5, 9), "squash", True)],
)
def test_a_strip_is_known_by_its_size(size: tuple[int, int], mode: str, fits: bool) -> None:
    card = ImageCard((64, 64), mode, "bicubic", MEAN, STD)
    if fits:
        assert max(resized(size, card)) == 64
        return
    with pytest.raises(UnreadableImageError, match="1 x 200000 pixels is too narrow a strip"):
        resized(size, card)


ENGINE = """
import sys
import numpy as np
file, photos, out = sys.argv[1:]
photos = np.load(photos)
if {openvino}:
    import openvino
    exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # not rounded to bfloat16
    model = openvino.Core().compile_model(file, "CPU", exact)
    name = model.inputs[0].any_name
    run = lambda photo: model({{name: photo}})[model.output("probabilities")]
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    run = lambda photo: session.run(["probabilities"], {{name: photo}})[0]
np.save(out, np.concatenate([run(photos[key]) for key in photos if key.startswith(name)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "package",
    [f"onnxruntime=={'.'.join(map(str, OLDEST_ONNXRUNTIME))}", "onnxruntime", "openvino"],
)
def test_other_engines_are_right_or_give_no_number(package: str, place: Place) -> None:
    environment = place.tmp / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    install = [environment / "bin" / "pip", "install", "--quiet", package, "numpy"]
    if subprocess.run(install, check=False).returncode:
        pytest.skip(f"pip cannot install {package} here")
    tune(place.onnx, place.photos, place.tmp / "run", "--budget", 50, "--plain-classifier")
    classifier = edge_sharpzo.Classifier.load(place.run)
    card = classifier._clip.card.image
    photos = odd_photos(card.size)
    arrays = {f"image{i:03}": photo for i, photo in enumerate(photos)}
    for i, photo in enumerate(photos):
        arrays[f"pixel_values{i:03}"] = preprocess(Image.fromarray(photo), card)[None]
    np.savez(place.tmp / "photos.npz", **arrays)
    answers = classifier.predict(photos)
    wanted = np.array([[a.probabilities[label] for label in classifier.labels] for a in answers])
    script = ENGINE.format(openvino=package == "openvino")
    found = []
    for run in (place.run, place.tmp / "run"):
        files = [run / "classifier.onnx", place.tmp / "photos.npz", place.tmp / "out.npy"]
        python = environment / "bin" / "python"
        subprocess.run([python, "-c", script, *files], check=True)
        found.append(np.load(place.tmp / "out.npy"))
    as_photos, as_pixels = found
    assert as_pixels == pytest.approx(wanted, abs=1e-4)
    if package == "openvino" and np.isnan(as_photos).all():
        return  # its Resize passes over `antialias`
    assert as_photos == pytest.approx(wanted, abs=0.01)
