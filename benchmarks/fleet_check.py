"""Rounds on 1, 2 and 4 workers of this machine over slow links, beside what the model says of them.

`python -m benchmarks.fleet_check [--out FILE.json]`, about six minutes; a check that was stopped
goes on with the problem that it was at. Linux only.

Workers are MLServers, then Dask's, with one thread, each pinned to a core; nothing goes further
than 127.0.0.1. What a call costs is measured in processor seconds with one worker and no link to
speak of; all else is predicted from that. Where workers take all cores, what the run and the link
(or the scheduler) compute themselves is added to what the workers do, for they all take turns.
"""

import os

# As the command line does; before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exports import EMBEDDED, FULL_SIZE, exported_elsewhere
from benchmarks.fleet_calls import Traffic, Widths, traffic
from benchmarks.fleet_model import LINKS, PERFECT, Call, Fleet, Handling, Link, round_seconds
from benchmarks.fleet_tables import check_table, summary
from benchmarks.fleet_workers import (
    DaskFleet,
    Process,
    linked,
    pinned,
    processor_seconds,
    services,
)
from benchmarks.synthetic import class_names, contexts
from benchmarks.timing import RESULTS, milliseconds, record, save
from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.text_tower import TextTower
from edge_sharpzo.engines.address import Address, Scheme
from edge_sharpzo.engines.fleet import Fleet as DaskEngine
from edge_sharpzo.engines.remote_clip import RemoteClip
from edge_sharpzo.engines.served import Companion
from edge_sharpzo.engines.service import Service
from edge_sharpzo.system.machine import usable_cores
from edge_sharpzo.system.memory import MemoryLimit
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE

WORKERS = (1, 2, 4)
LONGEST = 7.0  # seconds of a round; what is predicted to take longer is left out
ENOUGH = 1.5  # seconds of rounds after which there are no more
ROUNDS = 5  # at most
CALIBRATION = 3  # rounds
Result = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What a round is of."""

    model: str
    classes: int
    candidates: int


PROBLEMS = (
    Problem(EMBEDDED, 10, 16),
    Problem(EMBEDDED, 100, 4),
    Problem(FULL_SIZE, 10, 16),
    Problem(FULL_SIZE, 100, 4),
)


def a_round(clip: Clip, problem: Problem) -> Callable[[], object]:
    """Computes a round on wherever `clip` runs."""
    prompt = clip.prompts.for_tuning(class_names(problem.classes), DEFAULT_TEMPLATE)
    tower, text = TextTower(clip, prompt.classes, len(prompt.context)), clip.card.text
    points = contexts(problem.candidates, len(prompt.context), text.width, text.embedding_std)
    return lambda: tower(points)


def tell(text: str, _: bool) -> None:
    """What engines have to say."""
    print(f"    {text}")


@contextmanager
def served(onnx: Path, link: Link, workers: Sequence[Process]) -> Iterator[tuple[Clip, int]]:
    """The model on these services, and the process of the link to them."""
    with linked(link, [worker.port for worker in workers]) as (ports, pid):
        service = Service([Address(Scheme.GRPC, "127.0.0.1", p, model="clip") for p in ports], tell)
        yield RemoteClip(service, service.companion(), ClipOnnx(onnx, 1), False, MemoryLimit()), pid


def tower_alone(onnx: Path, problem: Problem) -> Result:
    """A round's calls, and milliseconds of a core for them without any messages."""
    clip = ClipOnnx(onnx, 1)
    widths = Widths(clip.card.text.width, clip.card.feature_dim)
    sent = traffic(widths, problem.classes, problem.candidates)
    with pinned(0):
        run = a_round(clip, problem)
        run()
        start = time.process_time()
        for _ in range(CALIBRATION):
            run()
        spent = time.process_time() - start
    return {
        "tower_ms": milliseconds(spent / CALIBRATION),
        "calls": [asdict(each) for each in sent],
    }


def costs(run: Callable[[], object], worker: int, between: int) -> Result:
    """Processor milliseconds of a round: of the worker, of what is between, and here."""

    def spent() -> tuple[float, ...]:
        return (processor_seconds(worker), processor_seconds(between), time.process_time())

    run()
    before = spent()
    for _ in range(CALIBRATION):
        run()
    each = [milliseconds((b - a) / CALIBRATION) for a, b in zip(before, spent(), strict=True)]
    return dict(zip(("worker_ms", "between_ms", "here_ms"), each, strict=True))


def predicted(alone: Result, cost: Result, link: Link, workers: int, cores: int) -> float:
    """Seconds of a round, from what one costs."""
    sent = [Traffic(**each) for each in alone["calls"]]
    rows, size = sum(each.rows for each in sent), sum(each.up + each.down for each in sent)
    handling, here = cost["worker_ms"] - alone["tower_ms"], cost["here_ms"]
    if workers >= cores:  # all take turns
        handling, here = handling + cost["between_ms"] + here, 0.0
    calls = [
        Call(
            each.up,
            each.down,
            here / 1e3 * (each.up + each.down) / size,
            handling / 1e3 * (each.up + each.down) / size,
            alone["tower_ms"] / 1e3 * each.rows / rows,
        )
        for each in sent
    ]
    return round_seconds(calls, link, Fleet(workers, cores))


def measured(run: Callable[[], object]) -> Result:
    """Milliseconds of the fastest round and of the median one, after one that is not counted."""
    run()
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < ENOUGH:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {
        "measured_ms": milliseconds(min(seconds)),
        "median_ms": milliseconds(statistics.median(seconds)),
    }


def check_services(onnx: Path, problem: Problem, workers: list[Process], cores: int) -> Result:
    """A problem's rounds over all links."""
    case = {**asdict(problem), **tower_alone(onnx, problem), "rounds": []}
    with served(onnx, PERFECT, workers[:1]) as (clip, link_pid):
        case["services"] = costs(a_round(clip, problem), workers[0].pid, link_pid)
    for number in WORKERS:
        for link in LINKS:
            expected = predicted(case, case["services"], link, number, cores)
            row = {"workers": number, "over": link.name, "predicted_ms": milliseconds(expected)}
            if expected <= LONGEST:
                with served(onnx, link, workers[:number]) as (clip, _):
                    row |= measured(a_round(clip, problem))
            print(" ", row, flush=True)
            case["rounds"].append(row)
    return case


def check_dask(onnx: Path, cases: Sequence[Result], cores: int) -> None:
    """Adds rounds on Dask's workers, without a link, to the cases of a model."""
    with ExitStack() as stack:
        dask = DaskFleet(stack)
        dask.grow(1)
        file = ClipOnnx(onnx, 1)
        engine = DaskEngine(dask.address, file, tell)
        stack.callback(engine.client.close)
        clip = RemoteClip(engine, Companion.of(file), file, False, MemoryLimit())
        for number in WORKERS:
            dask.grow(number)
            for case in cases:
                run = a_round(clip, problem_of(case))
                if number == 1:
                    case["dask"] = costs(run, dask.workers[0].pid, dask.scheduler.pid)
                expected = predicted(case, case["dask"], PERFECT, number, cores)
                row = {"workers": number, "over": "Dask, loopback"}
                row |= {"predicted_ms": milliseconds(expected), **measured(run)}
                print(" ", row, flush=True)
                case["rounds"].append(row)


def problem_of(case: Result) -> Problem:
    """What a case's rounds are of."""
    return Problem(case["model"], case["classes"], case["candidates"])


def check_model(model: str, result: Result, save_it: Callable[[], None]) -> None:
    """What is missing of a model's cases."""
    cases: list[Result] = result["problems"]
    done = {problem_of(case) for case in cases}
    left = [problem for problem in PROBLEMS if problem.model == model and problem not in done]
    cores = usable_cores()
    onnx = EMBEDDED_MODEL if model == EMBEDDED else exported_elsewhere(model, "fp32")
    if left:
        with services(onnx, max(WORKERS)) as workers:
            for problem in left:
                print(problem, flush=True)
                cases.append(check_services(onnx, problem, workers, cores))
                save_it()
    if wanting := [case for case in cases if case["model"] == model and "dask" not in case]:
        check_dask(onnx, wanting, cores)
        save_it()


def handling(cases: Sequence[Result]) -> Result:
    """What a service's messages cost on either side: a line through all problems."""
    sizes, here, there = [], [], []
    for case in cases:
        count, cost = len(case["calls"]), case["services"]
        sizes.append(sum(each["up"] + each["down"] for each in case["calls"]) / count)
        here.append(cost["here_ms"] / 1e3 / count)
        there.append((cost["worker_ms"] - case["tower_ms"]) / 1e3 / count)
    return {"here": asdict(_line(sizes, here)), "there": asdict(_line(sizes, there))}


def _line(sizes: Sequence[float], seconds: Sequence[float]) -> Handling:
    """Seconds for bytes, neither part of them below zero."""
    slope = max(0.0, float(np.polyfit(sizes, seconds, 1)[0]))
    fixed = max(0.0, statistics.mean(seconds) - slope * statistics.mean(sizes))
    return Handling(float(f"{fixed:.3g}"), float(f"{slope:.3g}"))


def main() -> None:
    """Runs what is missing, prints the table and writes the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "fleet_check.json")
    out: Path = parser.parse_args().out
    unfinished = out.with_suffix(".unfinished.json")
    result = record({"problems": []}, threads=1)
    if unfinished.exists():
        before = json.loads(unfinished.read_text(encoding="utf8"))
        if {**before, "problems": []} == result:
            result = before
    for model in (EMBEDDED, FULL_SIZE):
        check_model(model, result, lambda: save(result, unfinished))
    result["handling"] = handling(result["problems"])
    save(result, out)
    unfinished.unlink(missing_ok=True)
    print(f"{check_table(result)}\n\n{summary(result)}")


if __name__ == "__main__":
    main()
