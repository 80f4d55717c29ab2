"""How the speed benchmarks time and record: all sides of a comparison in turn, the fastest call of
each.
"""

import json
import time
from collections.abc import Callable, Hashable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.machine import describe_machine

Key = TypeVar("Key", bound=Hashable)

# Seconds before a side's turn, so that the other engine's waiting threads have left the cores.
PAUSE = 0.03
LONGEST = 20.0  # seconds after which a side has no further turns
RESULTS = Path("benchmarks/results")


def fastest(sides: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Seconds of every side's fastest call in `rounds` rounds, after one call each to warm up.

    A round calls every side twice in a row: what slows the machine for a while slows them all, and
    a second call finds its weights in the processor's caches.
    """
    best, spent = dict.fromkeys(sides, float("inf")), dict.fromkeys(sides, 0.0)
    for call in sides.values():
        call()
    for _ in range(rounds):
        for side, call in sides.items():
            if spent[side] > LONGEST:
                continue
            time.sleep(PAUSE)
            for _ in range(2):
                start = time.perf_counter()
                call()
                seconds = time.perf_counter() - start
                best[side], spent[side] = min(best[side], seconds), spent[side] + seconds
    return best


def processor_seconds(call: Callable[[], object], repeats: int) -> float:
    """Processor seconds of one call, over all threads; the mean of `repeats` calls."""
    call()
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def milliseconds(seconds: float) -> float:
    """Milliseconds, to four digits."""
    return float(f"{1e3 * seconds:.4g}")


def record(result: dict[str, Any], threads: int) -> dict[str, Any]:
    """`result` with the processor, the versions and the threads that it was measured with."""
    machine = describe_machine()
    machine["versions"] |= {package: version(package) for package in ("torch", "open_clip_torch")}
    return {**machine, "threads": threads, **result}


def save(result: dict[str, Any], out: Path | None) -> None:
    """Writes `result` to the JSON file `out`, if there is one."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
