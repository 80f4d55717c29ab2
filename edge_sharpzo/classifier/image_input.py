"""Lets a graph that takes prepared pixels take a photo as it was decoded.

The same as `clip/images/preprocessing.py`, in ONNX's standard operators. Resizing is that of whole
numbers: onnxruntime's has pillow's own arithmetic then, and a float copy of a photo would take four
times its memory.
"""

from typing import Any

import numpy as np
import PIL
from PIL import Image

from edge_sharpzo.clip.card import ImageCard, Interpolation, ResizeMode
from edge_sharpzo.clip.onnx.messages import (
    GraphProto,
    ModelProto,
    TensorProto,
    node,
    value_info,
)
from edge_sharpzo.clip.onnx.part import Part

IMAGE, PIXELS = "image", "pixel_values"
OLDEST_OPSET = 18  # the first whose Resize can be antialiased
_ROWS, _COLUMNS = 1, 2  # axes of [1, H, W, 3], which needs no transposed copy of a large photo
# As pillow resizes: weights of pixels outside count for nothing, and bicubic's coefficient.
_AS_PILLOW: dict[str, Any] = {"antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5}
_MODES = {Interpolation.BICUBIC: "cubic", Interpolation.BILINEAR: "linear"}
# From this release on, pillow takes the rows of tall photos first; overshoot is cut off in between.
_ROWS_FIRST = int(PIL.__version__.split(".")[0]) >= 13
_APART = 2.0  # levels that another engine's rounding may move a resized pixel


def can_take_photos(model: ModelProto) -> bool:
    """Whether the operators of the model's version can do what `take_photo` adds."""
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    return min(versions, default=0) >= OLDEST_OPSET


def take_photo(graph: GraphProto, card: ImageCard) -> None:
    """Gives a tower the input `image`, uint8 RGB [H, W, 3] of any size, for `pixel_values`.

    `graph` is changed in place; no name in it begins with `photo.` or is `image`. Its one output
    becomes that of one photo, and no number at all in an engine that resizes otherwise than pillow,
    as some do that pass over `antialias` without a word.
    """
    part = Part("photo")
    size = part.add("Slice", part.add("Shape", IMAGE), part.whole([0]), part.whole([2]))
    target = _target(part, size, card)
    photo = part.add("Unsqueeze", IMAGE, part.whole([0]))
    if card.interpolation == Interpolation.NEAREST:
        photo = _nearest(part, photo, size, target)
    else:
        if _ROWS_FIRST:
            photo = _resized(part, photo, _half_way(part, size, target), card.interpolation)
        photo = _resized(part, photo, target, card.interpolation)
    _normalised(part, _of_size(part, photo, target, card), card)
    tower, (output,) = list(graph.node), graph.output
    if card.interpolation != Interpolation.NEAREST:
        checked = [output.name, _resizing_checked(part, size, card.interpolation)]
        tower.append(node("Add", checked, ["photo.features"]))
        output.name = "photo.features"
    del graph.node[:], graph.input[:]
    graph.node.extend([*part.nodes, *tower])
    graph.initializer.extend(part.constants)
    graph.input.append(value_info(IMAGE, ["height", "width", 3], TensorProto.UINT8))


def _resized(part: Part, photo: str, target: str, interpolation: Interpolation) -> str:
    """`photo` [1, H, W, 3], uint8, with the height and width of `target` [2]."""
    kind = _MODES[interpolation]
    inputs = (photo, "", "", target)
    return part.add("Resize", *inputs, mode=kind, axes=[_ROWS, _COLUMNS], **_AS_PILLOW)


def _target(part: Part, size: str, card: ImageCard) -> str:
    """Height and width [2] of a photo of that `size` [2] once it is resized.

    Rounded as by `_fitted` in `clip/images/preprocessing.py`: whole numbers where it cuts, and
    float64, as Python's own numbers are, where it rounds.
    """
    wanted = part.whole(card.size)
    if card.resize_mode == ResizeMode.SQUASH:
        return wanted
    if card.resize_mode == ResizeMode.SHORTEST and card.size[0] == card.size[1]:
        return part.add("Div", part.add("Mul", size, wanted), part.add("ReduceMin", size))
    real = part.add("Cast", size, to=TensorProto.DOUBLE)
    ratios = part.add("Div", real, part.constant(np.array(card.size, np.float64)))
    pick = "ReduceMax" if card.resize_mode == ResizeMode.LONGEST else "ReduceMin"
    rounded = part.add("Round", part.add("Div", real, part.add(pick, ratios)))
    return part.add("Max", part.add("Cast", rounded, to=TensorProto.INT64), part.whole([1]))


def _half_way(part: Part, size: str, target: str) -> str:
    """Height and width [2] after the first of pillow's two passes.

    Rows come first where they shrink, and by more than twice what columns shrink by.
    """
    shrunk = part.add("Sub", size, target)
    by_more = part.add("MatMul", shrunk, part.whole([[1, 1], [0, -2]]))
    rows_first = part.add("Greater", part.add("ReduceMin", by_more), part.whole([0]))
    done = part.add("Equal", rows_first, part.constant(np.array([True, False])))
    return part.add("Where", done, target, size)


def _nearest(part: Part, photo: str, size: str, target: str) -> str:
    """Pixels picked as pillow does, which adds up its steps: a product would round otherwise."""
    real = [part.add("Cast", each, to=TensorProto.DOUBLE) for each in (size, target)]
    steps = part.add("Div", *real)
    half = part.constant(np.array(0.5))
    for axis in (_ROWS, _COLUMNS):
        one = part.whole([axis - 1])
        step, count = part.add("Gather", steps, one), part.add("Gather", target, one)
        more = part.add("Expand", step, part.add("Sub", count, part.whole([1])))
        summands = part.add("Concat", part.add("Mul", step, half), more, axis=0)
        places = part.add("CumSum", summands, part.whole(0))
        photo = part.add("Gather", photo, part.add("Cast", places, to=TensorProto.INT64), axis=axis)
    return photo


def _of_size(part: Part, photo: str, target: str, card: ImageCard) -> str:
    """The resized photo cropped about its centre, or padded, to the tower's size."""
    if card.resize_mode == ResizeMode.SQUASH:
        return photo
    wanted, two = part.whole(card.size), part.whole([2])
    axes = part.whole([_ROWS, _COLUMNS])
    if card.resize_mode == ResizeMode.LONGEST:
        missing = part.add("Sub", wanted, target)
        before = part.add("Div", missing, two)
        pads = part.add("Concat", before, part.add("Sub", missing, before), axis=0)
        return part.add("Pad", photo, pads, part.constant(np.array(card.fill, np.uint8)), axes)
    beyond = part.add("Sub", target, wanted)
    odd = part.add("Mod", part.add("Div", beyond, two), two)  # halves round to even numbers
    start = part.add("Div", part.add("Add", beyond, odd), two)
    return part.add("Slice", photo, start, part.add("Add", start, wanted), axes)


def _normalised(part: Part, photo: str, card: ImageCard) -> None:
    """`pixel_values` [1, 3, H, W], float32, of a photo of the tower's size."""
    levels = part.add("Cast", photo, to=TensorProto.FLOAT)
    shares = part.add("Div", levels, part.number(255))
    centred = part.add("Sub", shares, part.number(card.mean))
    scaled = part.add("Div", centred, part.number(card.std))
    part.add("Transpose", scaled, out=PIXELS, perm=[0, 3, 1, 2])


def _resizing_checked(part: Part, size: str, interpolation: Interpolation) -> str:
    """0 where a small picture is resized as pillow resizes it, else no number; float32 [].

    Its size depends on the photo's `size`, so that no engine computes it ahead of time with other
    code than that which resizes photos.
    """
    levels = (np.arange(16 * 16) * 97 % 256).astype(np.uint8).reshape(16, 16)
    picture = np.repeat(levels[..., None], 3, axis=2)
    method = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(picture).resize((5, 3), method), np.float32)
    ones = part.add("Min", size, part.whole([1, 1]))
    target = part.add("Mul", ones, part.whole([3, 5]))
    found = _resized(part, part.constant(picture[None]), target, interpolation)
    real = part.add("Cast", found, to=TensorProto.FLOAT)
    apart = part.add("Abs", part.add("Sub", real, part.constant(expected[None])))
    most = part.add("ReduceMax", apart, keepdims=0)
    holds = part.add("LessOrEqual", most, part.number(_APART))
    return part.add("Where", holds, part.number(0.0), part.number(float("nan")))
