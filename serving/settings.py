"""What a repository says to the servers: MLServer's settings, and Triton's `config.pbtxt`."""

import json
from collections.abc import Sequence
from typing import Any

from serving.tensors import Tensor

VERSION = "1"  # of each model: its folder in the repository
MODEL_FILE = "model.onnx"
RUNTIME = "serving.mlserver_runtime.ServedTower"
# Of a request or an answer: far more than a call of this package takes, and no more than protobuf
# can carry. MLServer holds some eight times as much while it reads one.
MOST_MESSAGE_BYTES = 1 << 30
_QUIET = {  # warnings and errors, a line each
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"lines": {"()": "serving.mlserver_runtime.OneLine"}},
    "handlers": {"errors": {"class": "logging.StreamHandler", "filters": ["lines"]}},
    "loggers": {
        name: {"level": "WARNING", "handlers": ["errors"], "propagate": False}
        for name in ("mlserver", "uvicorn")
    },
}


def mlserver_settings() -> str:
    """`settings.json` of MLServer: one process, calls as they come, nothing measured or kept."""
    return as_json(
        {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": 8000,
            "grpc_port": 8001,
            "grpc_max_message_length": MOST_MESSAGE_BYTES,
            "parallel_workers": 0,
            "metrics_endpoint": None,
            "cache_enabled": False,
            "gzip_enabled": False,
            "logging_settings": _QUIET,
        }
    )


def mlserver_model(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """`model-settings.json` of one model for MLServer."""

    def told(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
        return [
            {"name": each.name, "datatype": each.kind.name, "shape": list(each.shape)}
            for each in tensors
        ]

    return as_json(
        {
            "name": name,
            "implementation": RUNTIME,
            "platform": "onnxruntime_onnx",
            "versions": [VERSION],
            "inputs": told(inputs),
            "outputs": told(outputs),
            "parameters": {"uri": f"./{VERSION}/{MODEL_FILE}", "extra": {"threads": 0}},
        }
    )


def triton_config(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """`config.pbtxt` of one model for the ONNX backend of Triton.

    No batching of others' calls: the first dimensions of a call's tensors mean different things.
    """

    def told(kind: str, tensors: Sequence[Tensor]) -> str:
        return "\n".join(
            f"{kind} {{ name: {json.dumps(each.name)} data_type: TYPE_{each.kind.name} "
            f"dims: {list(each.shape)} }}"
            for each in tensors
        )

    parameters = {"intra_op_thread_count": "0", "execution_mode": "0", "enable_mem_pattern": "0"}
    return "\n".join(
        [
            f"name: {json.dumps(name)}",
            'backend: "onnxruntime"',
            f'default_model_filename: "{MODEL_FILE}"',
            "max_batch_size: 0",
            told("input", inputs),
            told("output", outputs),
            "instance_group { count: 1 kind: KIND_CPU }",
            *(
                f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'
                for key, value in parameters.items()
            ),
            "",
        ]
    )


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
