"""onnxruntime's execution providers: which there are, which run here, and how they are set up for tuning."""

from typing import Any

from edge_sharpzo.errors import UserError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
# What `auto` tries, in this order. The others build engines or round to half precision, which only a person can want.
AUTOMATIC = ("cuda", "cpu")


def resolve(asked: str) -> str:
    """onnxruntime's name of the provider `asked` for; for `auto` the first of `AUTOMATIC` that runs here.

    Raises UserError for a name that is not known.
    """
    if asked == "auto":
        return next(PROVIDERS[name] for name in AUTOMATIC if why_not(PROVIDERS[name]) is None)
    if asked not in PROVIDERS:
        raise UserError(f"--provider {asked}: choose one of auto, {', '.join(PROVIDERS)}")
    return PROVIDERS[asked]


def why_not(provider: str) -> str | None:
    """Why `provider` cannot open the smallest of graphs here; None where it can."""
    import onnxruntime

    from edge_sharpzo.onnx_format import ModelProto, node, value_info

    if provider not in onnxruntime.get_available_providers():
        return "not in this onnxruntime"
    model = ModelProto(ir_version=8)
    model.opset_import.add(version=17)
    model.graph.name = "probe"
    model.graph.node.append(node("Relu", ["x"], ["y"]))
    model.graph.input.append(value_info("x", [1]))
    model.graph.output.append(value_info("y", [1]))
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[(provider, options(provider))])
    except Exception as error:  # onnxruntime's exceptions share no base class
        return (str(error).splitlines() or [type(error).__name__])[0][:120]
    finally:
        onnxruntime.set_default_logger_severity(3)
    return None if provider in session.get_providers() else "its driver or libraries do not load"


def options(provider: str) -> dict[str, Any]:
    """Settings of `provider` for tuning: float32 throughout, since finite differences would drown in rounding."""
    from edge_sharpzo.features import cache_folder

    if provider == PROVIDERS["cuda"]:
        return {"use_tf32": "0"}
    if provider == PROVIDERS["tensorrt"]:
        engines = cache_folder() / "tensorrt"
        engines.mkdir(parents=True, exist_ok=True)
        return {"trt_fp16_enable": "False", "trt_engine_cache_enable": "True", "trt_engine_cache_path": str(engines)}
    return {}


def announcement(provider: str) -> str | None:
    """What a user should know before the first session of `provider` opens."""
    if provider == PROVIDERS["tensorrt"]:
        return (
            f"TensorRT builds an engine for each new model and shape, minutes long; engines are kept in {options(provider)['trt_engine_cache_path']}"
        )
    return None
