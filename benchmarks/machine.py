"""What a figure was measured on."""

import platform
from pathlib import Path
from typing import Any

from edge_sharpzo.system.machine import usable_cores, versions


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def describe_machine() -> dict[str, Any]:
    """Processor, cores in use, and versions."""
    return {"processor": processor(), "cores": usable_cores(), "versions": versions()}
