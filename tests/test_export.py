"""Every tower family, exported and compared with open_clip's own dense computation."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import open_clip
import pytest
import torch
from helpers import FAMILIES, Exported, rest_slow, slow_unless, write_model

from edge_sharpzo import __version__
from edge_sharpzo.clip import clip_file
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.machine import sums_bytes_exactly
from export.check import Agreement, dense_reference
from export.convert import export, verify
from export.source import ExportError, _with_matching_gelu, load_source

ROOT = Path(__file__).parent.parent
PACKED = {"vit", "vit-quickgelu", "resnet", "custom-text-causal", "layer-scale"}


def some(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))[::6]


# The packed form of a text tower, and the dense one.
@pytest.mark.parametrize("family", slow_unless(lambda name: name in ("vit", "siglip"), FAMILIES))
def test_features_equal_open_clip(
    family: str, exported: Callable[[str], Exported], photos: Path
) -> None:
    model = exported(family)
    agreements, same_class = verify(model.source, model.onnx, some(photos))
    assert len(agreements) == 6
    for agreement in agreements:
        assert agreement.max_abs <= 1e-5, agreement
        assert agreement.cosine >= 0.99999, agreement
    assert same_class.holds
    assert ClipOnnx(model.onnx).card.text.layout == ("packed" if family in PACKED else "dense")


def test_a_wrong_context_would_be_seen(exported: Callable[[str], Exported]) -> None:
    model = exported("vit")
    clip = ClipOnnx(model.onnx)
    prompt = clip.prompts.for_tuning(["cat", "old dog"], "a photo of a {}.")
    ids = torch.tensor(
        [clip.prompts.padded(f"a photo of a {name}.") for name in ("cat", "old dog")]
    )
    contexts = np.random.default_rng(0).standard_normal((2, 4, 32)).astype(np.float32)
    ours = TextTower(clip, prompt.classes, 4)(contexts)
    assert (
        not Agreement.of(
            "", ours, dense_reference(model.source.model, ids, contexts[::-1].copy(), 1)
        )
        .check("fp32")
        .holds
    )


def test_towers_are_loaded_apart(tiny_onnx: Path) -> None:
    clip = ClipOnnx(tiny_onnx)
    assert [i.name for i in clip.session(Tower.IMAGE).get_inputs()] == ["pixel_values"]
    assert [i.name for i in clip.session(Tower.TOKENS).get_inputs()] == ["token_ids"]
    assert [i.name for i in clip.session(Tower.TEXT).get_inputs()] == [
        "ctx",
        "names",
        "positions",
        "mask",
        "eot",
    ]
    assert [o.name for o in onnx.load(tiny_onnx).graph.output] == [
        "image_features",
        "text_features",
        "token_embeddings",
    ]


def test_token_table_is_reachable(exported: Callable[[str], Exported]) -> None:
    model = exported("vit")
    rows = ClipOnnx(model.onnx).token_embeddings([5, 49406, 5])
    assert np.array_equal(
        rows, model.source.model.token_embedding.weight.detach().numpy()[[5, 49406, 5]]
    )


def test_half_precision_is_smaller_and_close(
    exported: Callable[[str], Exported], tmp_path: Path, photos: Path
) -> None:
    model = exported("vit")
    export(model.source, tmp_path / "half.onnx", "fp16")
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * model.onnx.stat().st_size
    agreements, _ = verify(model.source, tmp_path / "half.onnx", some(photos))
    assert all(agreement.check("fp16").holds for agreement in agreements)


def integer_sums_are_wrong_here() -> bool:
    """Whether integer products are forced upon a processor that saturates their sums."""
    return clip_file.sums_bytes_exactly() and not sums_bytes_exactly()


def weights_stored(clip: ClipOnnx) -> int:
    """Bytes of the text tower's large weights in the file."""
    tensors = clip.tower(Tower.TEXT).graph.initializer
    entries = [entry for tensor in tensors for entry in tensor.external_data]
    return sum(int(entry.value) for entry in entries if entry.key == "length")


@pytest.mark.parametrize("family", rest_slow(["vit", "resnet", "siglip"]))
def test_weights_in_8_bits_are_close_in_floats_and_in_integers(
    family: str, exported: Callable[[str], Exported], tmp_path: Path, photos: Path
) -> None:
    model = exported(family)
    export(model.source, tmp_path / "clip.onnx", "int8")
    agreements, _ = verify(model.source, tmp_path / "clip.onnx", some(photos))
    assert len(agreements) == 10
    for agreement in agreements:
        assert agreement.check("int8").holds or integer_sums_are_wrong_here(), agreement
    clip = ClipOnnx(tmp_path / "clip.onnx")
    operators = Counter(node.op_type for node in clip.tower(Tower.TEXT).graph.node)
    assert operators["DequantizeLinear"] >= 8  # four products in each of two layers
    floats, bytes_ = (weights_stored(ClipOnnx(file)) for file in (model.onnx, clip.path))
    assert bytes_ < 0.4 * floats


def test_integer_products_are_close_to_float_ones_or_not_taken(
    exported: Callable[[str], Exported], tmp_path: Path
) -> None:
    """A processor that would add them up wrongly takes float products: the same to the bit."""
    export(exported("vit").source, tmp_path / "clip.onnx", "int8")
    clip = ClipOnnx(tmp_path / "clip.onnx")
    prompt = clip.prompts.for_tuning(["cat", "old dog"], "a photo of a {}.")
    contexts = np.random.default_rng(0).standard_normal((3, 4, 32)).astype(np.float32)
    towers = [TextTower(clip, prompt.classes, 4, integer) for integer in (False, True)]
    floats, integers = (tower(contexts) for tower in towers)
    operators = {node.op_type for node in clip.tower(Tower.TEXT, integer=True).graph.node}
    apart = np.abs(floats - integers).max()
    if clip_file.sums_bytes_exactly():
        assert "MatMulInteger" in operators
        assert apart > 1e-6
        assert apart < 0.1 or integer_sums_are_wrong_here()
    else:
        assert "MatMulInteger" not in operators
        assert apart == 0


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "exactly"),
    [
        ("x86_64", "flags: avx2 avx512_vnni", True),
        ("x86_64", "flags: avx2 avx_vnni", True),
        ("x86_64", "flags: avx2", False),
        ("AMD64", None, False),
        ("aarch64", "Features: asimd", True),
    ],
)
def test_which_processors_sum_bytes_exactly(
    machine: str,
    cpuinfo: str | None,
    exactly: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr("edge_sharpzo.system.machine._CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert sums_bytes_exactly() == exactly


def test_weights_that_fit_into_half_precision_are_stored_so_without_loss(
    tmp_path: Path, photos: Path
) -> None:
    source = load_source(f"local-dir:{write_model(tmp_path / 'model', 'vit')}", None)
    source.model.half().float()
    export(source, tmp_path / "clip.onnx", "fp32")
    kinds = {
        t.data_type
        for t in onnx.load(tmp_path / "clip.onnx").graph.initializer
        if np.prod(t.dims) >= 1024
    }
    assert kinds == {onnx.TensorProto.FLOAT16}
    agreements, _ = verify(source, tmp_path / "clip.onnx", some(photos))
    assert all(agreement.max_abs <= 1e-5 for agreement in agreements)


def test_large_weights_lie_beside_the_file(
    exported: Callable[[str], Exported],
    tmp_path: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("export.graph.INLINE_LIMIT", 0)
    files = export(exported("vit").source, tmp_path / "clip.onnx", "fp32")
    assert [f.name for f in files] == ["clip.onnx", "clip.onnx.data"]
    agreements, _ = verify(exported("vit").source, tmp_path / "clip.onnx", some(photos))
    assert all(agreement.max_abs <= 1e-5 for agreement in agreements)


def test_the_card_tells_what_the_device_needs(tiny_onnx: Path) -> None:
    card = ClipOnnx(tiny_onnx).card
    assert card.image.size == (32, 32)
    assert card.image.mean == (0.48, 0.46, 0.41)
    assert (card.text.start, card.text.end, card.text.context_length) == ((49406,), (49407,), 77)
    assert (card.text.words, card.text.n_ctx) == ("a photo of a", 4)
    assert card.weights_sha256 is not None
    assert len(card.weights_sha256) == 64
    assert card.text.embedding_std == pytest.approx(0.0283, rel=0.1)  # sqrt(0.02^2 + 0.02^2)


def test_a_text_tower_without_an_exact_form_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        FAMILIES,
        "coca",
        {
            **FAMILIES["custom-text-causal"],
            "text_cfg": {**FAMILIES["vit"]["text_cfg"], "embed_cls": True},
        },
    )
    source = load_source(f"local-dir:{write_model(tmp_path / 'model', 'coca')}", None)
    with pytest.raises(ExportError, match="class token"):
        export(source, tmp_path / "clip.onnx", "fp32")
    assert not (tmp_path / "clip.onnx").exists()


@pytest.mark.parametrize(
    ("name", "quick", "wanted"),
    [
        ("ViT-B-16", True, "ViT-B-16-quickgelu"),
        ("ViT-B-16-quickgelu", False, "ViT-B-16"),
        ("ViT-B-16", False, "ViT-B-16"),
        ("RN50", True, "RN50-quickgelu"),
    ],
)
def test_the_activation_that_the_weights_need_is_chosen(
    name: str, quick: bool, wanted: str
) -> None:
    assert _with_matching_gelu(name, quick) == wanted


@pytest.mark.parametrize(
    ("name", "pretrained", "words"),
    [
        ("ViT-B-99", "openai", "--list"),
        ("ViT-B-32", None, "--pretrained"),
        ("ViT-B-32", "no-such-tag", "openai"),
        ("local-dir:/nowhere", None, "open_clip_config.json"),
        ("ViT-B-32", "openai", "download the weights elsewhere"),
    ],
)
def test_messages_name_the_cure(
    name: str, pretrained: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("open_clip.factory.download_pretrained", unreachable)
    with pytest.raises(ExportError, match=words):
        load_source(name, pretrained)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "model", "vit") / "open_clip_model.safetensors"
    with pytest.raises(ExportError, match="does not hold weights for ViT-B-32"):
        load_source("ViT-B-32", str(weights), "gelu")


def test_a_weights_file_must_come_with_its_activation(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ExportError, match=r"ACTIVATION=quickgelu\) for OpenAI"):
        load_source("ViT-B-32", str(tmp_path / "weights.bin"))


@pytest.fixture
def small_models(tmp_path: Path) -> Iterator[Path]:
    """A tiny architecture that open_clip has with GELU and with QuickGELU; a file of weights."""
    for name, family in (("small", "vit"), ("small-quickgelu", "vit-quickgelu")):
        config = json.dumps({"embed_dim": 24, **FAMILIES[family]})
        (tmp_path / f"{name}.json").write_text(config)
        open_clip.add_model_config(tmp_path / f"{name}.json")
    yield write_model(tmp_path / "weights", "vit-quickgelu") / "open_clip_model.safetensors"
    for name in ("small", "small-quickgelu"):
        open_clip.factory._MODEL_CONFIGS.pop(name)


@pytest.mark.parametrize("activation", ["gelu", "quickgelu"])
def test_a_plain_weights_file_is_loaded_with_the_activation_that_is_named(
    activation: str, small_models: Path
) -> None:
    source = load_source("small", str(small_models), activation)
    assert source.name == {"gelu": "small", "quickgelu": "small-quickgelu"}[activation]
    quick = [isinstance(m, open_clip.transformer.QuickGELU) for m in source.model.modules()]
    assert any(quick) == (activation == "quickgelu")


@pytest.mark.slow  # once loaded, it is a source as any other
def test_a_plain_weights_file_is_exported(small_models: Path, tmp_path: Path, photos: Path) -> None:
    source = load_source("small", str(small_models), "quickgelu")
    export(source, tmp_path / "clip.onnx", "fp32")
    agreements, _ = verify(source, tmp_path / "clip.onnx", some(photos))
    assert all(agreement.check("fp32").holds for agreement in agreements)


def test_make_passes_the_activation_on() -> None:
    def command(*more: str) -> str:
        given = ["make", "--no-print-directory", "-n", "export"]
        given += ["MODEL=ViT-B-32", "PRETRAINED=weights.safetensors", *more]
        # Under `make test` these two would pass the outer make's settings on.
        alone = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            given, capture_output=True, text=True, check=True, cwd=ROOT, env=alone
        )
        return " ".join(done.stdout.replace("\\\n", " ").split())

    assert command("ACTIVATION=quickgelu").endswith("--precision 'fp32' --activation 'quickgelu'")
    assert command().endswith("--precision 'fp32'")


def test_the_file_names_this_package_as_its_producer(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    assert (model.producer_name, model.producer_version) == ("edge-sharpzo", __version__)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-16", "RN50", "MobileCLIP-S1"])
def test_full_size_models_equal_open_clip(name: str, tmp_path: Path, photos: Path) -> None:
    source = load_source(name, None, random_weights_seed=0)
    export(source, tmp_path / "clip.onnx", "fp32")
    agreements, same_class = verify(source, tmp_path / "clip.onnx", some(photos))
    assert all(agreement.check("fp32").holds for agreement in agreements)
    assert same_class.holds
