"""onnxruntime's execution providers: which there are, which run here, how a session opens."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sharpzo.system.errors import UserError, not_one_of
from edge_sharpzo.system.storage import cache_folder
from edge_sharpzo.system.text import first_line

if TYPE_CHECKING:
    import onnxruntime

    from edge_sharpzo.clip.onnx.messages import ModelProto


class Provider(StrEnum):
    """Execution providers by the names that users give."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    COREML = "coreml"
    OPENVINO = "openvino"
    XNNPACK = "xnnpack"

    @property
    def full(self) -> str:
        """onnxruntime's own name of it."""
        return _FULL[self]


_FULL = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
    Provider.COREML: "CoreMLExecutionProvider",
    Provider.OPENVINO: "OpenVINOExecutionProvider",
    Provider.XNNPACK: "XnnpackExecutionProvider",
}
CPU = _FULL[Provider.CPU]
AUTO = "auto"
# What `auto` tries, in this order. The others build engines or round to half precision: they are
# used only when they are named.
AUTOMATIC = (Provider.CUDA, Provider.CPU)
SILENT = 4  # onnxruntime's severity of fatal errors


def resolve(asked: str) -> str:
    """onnxruntime's name of the provider `asked` for: a `Provider` or its full name.

    For `auto` the first of `AUTOMATIC` that runs here. Raises UserError for an unknown name.
    """
    if asked == AUTO:
        return next(p.full for p in AUTOMATIC if why_not(p.full) is None)
    if asked in _FULL.values():
        return asked
    if asked not in list(Provider):
        raise not_one_of((AUTO, *Provider), "provider", asked)
    return Provider(asked).full


def open_session(
    model: "ModelProto",
    folder: Path,
    provider: str,
    threads: int,
    *,
    wait_actively: bool,
) -> "onnxruntime.InferenceSession":
    """A session of `model`, whose external data lies in `folder`.

    `threads` 0 is onnxruntime's choice; `wait_actively` lets them spin between calls. Raises
    UserError where onnxruntime lacks the provider or falls back to another one, and onnxruntime's
    own errors: `Session` is what calls it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT  # errors come as exceptions
    options.intra_op_num_threads = threads
    entries = {
        "session.model_external_initializers_file_folder_path": str(folder),
        # Inputs of products with 8-bit weights stay float32, or finite differences drown.
        "session.qdq_matmulnbits_accuracy_level": "1",
        "session.intra_op.allow_spinning": "1" if wait_actively else "0",
    }
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    # Shapes change between calls, so a plan of memory by shape would only grow.
    options.enable_mem_pattern = False
    if provider not in (available := onnxruntime.get_available_providers()):
        raise UserError(
            f"this onnxruntime has no provider '{provider}'. It has: {', '.join(available)}",
            field="provider",
        )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=[(provider, settings(provider))]
    )
    if provider not in (used := session.get_providers()):
        raise UserError(
            f"onnxruntime fell back from {provider} to {used[0]}: use `provider=cpu`, "
            "or mend the driver",
            field="provider",
        )
    return session


def why_not(provider: str) -> str | None:
    """Why `provider` cannot open the smallest of graphs here; None where it can."""
    import onnxruntime

    from edge_sharpzo.clip.onnx.messages import ModelProto, node, value_info

    if provider not in onnxruntime.get_available_providers():
        return "not in this onnxruntime"
    model = ModelProto(ir_version=8)
    model.opset_import.add(version=17)
    model.graph.name = "probe"
    model.graph.node.append(node("Relu", ["x"], ["y"]))
    model.graph.input.append(value_info("x", [1]))
    model.graph.output.append(value_info("y", [1]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=[(provider, settings(provider))]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        return first_line(error, 120)
    return None if provider in session.get_providers() else "its driver or libraries do not load"


def settings(provider: str) -> dict[str, Any]:
    """Settings of `provider` for tuning.

    float32 throughout, since finite differences would drown in rounding.
    """
    if provider == Provider.CUDA.full:
        return {"use_tf32": "0"}
    if provider == Provider.TENSORRT.full:
        engines = cache_folder() / "tensorrt"
        engines.mkdir(parents=True, exist_ok=True)
        return {
            "trt_fp16_enable": "False",
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(engines),
        }
    return {}


def announcement(provider: str) -> str | None:
    """What a user should know before the first session of `provider` opens."""
    if provider == Provider.TENSORRT.full:
        place = settings(provider)["trt_engine_cache_path"]
        return (
            "TensorRT builds an engine for each new model and shape, minutes long; "
            f"engines are kept in {place}"
        )
    return None
