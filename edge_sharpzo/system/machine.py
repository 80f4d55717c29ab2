"""What this machine gives the process: cores, memory that is left, versions."""

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_sharpzo.system.errors import UserError

PACKAGE = "edge-sharpzo"  # as pip knows it
_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_MEMORY = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
_CPUINFO = Path("/proc/cpuinfo")
# Older releases look for a model's weights in the current folder; 1.21.0 dies on import on a
# Raspberry Pi 4 (microsoft/onnxruntime issues 23957, 24112, 24512).
OLDEST_ONNXRUNTIME = (1, 21, 1)


def usable_cores() -> int:
    """Cores that this process may use: its CPU affinity, cut by a container's quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = _CGROUP_LIMIT.read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def sums_bytes_exactly() -> bool:
    """Whether this processor adds up products of bytes without saturating.

    64-bit Arm does, and x86 with VNNI.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    try:
        return "vnni" in _CPUINFO.read_text()
    except OSError:  # Windows, macOS
        return False


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in (PACKAGE, "onnxruntime", "numpy", "cma", "pillow", "tokenizers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def package_version() -> str:
    """Of edge-sharpzo."""
    return versions()[PACKAGE]


def check_device() -> None:
    """Raises UserError where onnxruntime cannot work.

    On a 32-bit system, for which there is none, and for a release of it that is too old.

    To be called before onnxruntime is imported.
    """
    if sys.maxsize < 2**32:
        raise UserError(
            f"this is a 32-bit Python on {platform.machine()}: onnxruntime needs a 64-bit system "
            "(Raspberry Pi OS comes as one)"
        )
    found = versions()["onnxruntime"]
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", found)  # none where another package brings it
    if numbers and tuple(map(int, numbers.groups())) < OLDEST_ONNXRUNTIME:
        oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
        raise UserError(
            f"onnxruntime {found} is too old or crashes here: pip install 'onnxruntime>={oldest}'"
        )


def available_mb() -> int | None:
    """Memory in MB that a new process may take; None if unknown.

    What the system has left, cut by a container's limit.
    """
    try:
        lines = _MEMINFO.read_text().splitlines()
        left = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit, used = (
            int((_CGROUP_MEMORY / name).read_text()) for name in ("memory.max", "memory.current")
        )
        left = min(left, limit - used)
    except (OSError, ValueError):  # no limit, or no container
        pass
    return left // 1_000_000
