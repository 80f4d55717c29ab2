"""The provider that is asked for is the one that runs, or the user hears why not. Sessions are
stand-ins: only the CPU is here.
"""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from helpers import run_tune, write_photos

from edge_sharpzo.clip import providers
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.system.errors import UserError


class Machine:
    """A stand-in for onnxruntime: `has` are its providers, `broken` those that fall back to the
    CPU, `failing` those that raise.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, has: str, broken: str = "", failing: str = ""
    ) -> None:
        self.opened: list[tuple[str, dict[str, Any]]] = []
        full = {each.value: each.full for each in providers.Provider}
        machine = self

        class Session:
            def __init__(
                self,
                model: bytes,
                options: object = None,
                providers: list[tuple[str, dict[str, Any]]] | None = None,
            ) -> None:
                del model, options
                assert providers is not None
                machine.opened += providers
                if providers[0][0] in [full[name] for name in failing.split()]:
                    raise RuntimeError("no CUDA-capable device is detected\nmore")
                self.names = (
                    [full["cpu"]]
                    if providers[0][0] in [full[name] for name in broken.split()]
                    else [providers[0][0], full["cpu"]]
                )

            def get_providers(self) -> list[str]:
                return self.names

        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: [full[name] for name in has.split()]
        )
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)


@pytest.mark.parametrize(
    ("has", "broken", "failing", "chosen"),
    [
        ("cpu", "", "", "cpu"),
        ("tensorrt cuda cpu", "", "", "cuda"),
        ("tensorrt cuda cpu", "cuda", "", "cpu"),
        ("cuda cpu", "", "cuda", "cpu"),
        ("coreml openvino cpu", "", "", "cpu"),
    ],
)
def test_auto_takes_the_best_that_really_runs(
    has: str, broken: str, failing: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, has, broken, failing)
    assert providers.resolve("auto") == providers.Provider(chosen).full


def test_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, "tensorrt cuda openvino cpu", broken="tensorrt", failing="cuda")
    found = {each: providers.why_not(each.full) for each in providers.Provider}
    assert found["cpu"] is found["openvino"] is None
    assert found["cuda"] == "no CUDA-capable device is detected"
    assert found["tensorrt"] == "its driver or libraries do not load"
    assert found["coreml"] == "not in this onnxruntime"


def test_the_real_one_runs_the_probe() -> None:
    assert providers.why_not(providers.Provider.CPU.full) is None


def test_sessions_open_with_float32_and_a_cache_for_engines(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, "tensorrt cuda cpu")
    for name in ("cuda", "tensorrt"):
        ClipOnnx(tiny_onnx, 1, providers.Provider(name).full).session(Tower.TEXT)
    (_, cuda), (_, tensorrt) = machine.opened
    assert cuda == {"use_tf32": "0"}
    assert tensorrt["trt_fp16_enable"] == "False"
    assert Path(tensorrt["trt_engine_cache_path"]).is_dir()
    assert tensorrt["trt_engine_cache_path"] in (
        providers.announcement(providers.Provider.TENSORRT.full) or ""
    )
    assert providers.announcement(providers.Provider.CUDA.full) is None


@pytest.mark.parametrize(
    ("broken", "failing", "words"),
    [("cuda", "", "fell back from CUDA"), ("", "cuda", "cannot open the text tower")],
)
def test_a_fallback_is_an_error(
    broken: str, failing: str, words: str, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, "cuda cpu", broken, failing)
    with pytest.raises(UserError, match=words):
        ClipOnnx(tiny_onnx, 1, providers.Provider.CUDA.full).session(Tower.TEXT)


def test_the_one_in_use_is_printed(tiny_onnx: Path, tmp_path: Path) -> None:
    for label, hue in enumerate((0, 120)):
        write_photos(tmp_path / "data" / f"c{label}", hue, 3, seed=1)
    done = run_tune(
        tiny_onnx,
        tmp_path / "data",
        tmp_path / "run",
        "--shots",
        1,
        "--budget",
        40,
        "--provider",
        "auto",
    )
    assert done.exit_code == 0
    assert "CPUExecutionProvider, " in done.stderr
