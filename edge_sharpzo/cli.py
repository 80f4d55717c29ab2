"""The command line. Heavy packages are imported inside the commands, so that `--help` answers at once."""

import csv
import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.errors import UserError

# NumPy's threads would wait actively on the cores that onnxruntime computes on: twice the time a query.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

app = typer.Typer(
    help="Fine-tunes CLIP's prompt on the device it runs on, with forward passes only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_PACKAGE = Path(__file__).resolve().parent
_IN_REPOSITORY = _PACKAGE.parent / "models" / "lite-clip" / "clip.onnx"
EMBEDDED_MODEL = _IN_REPOSITORY if _IN_REPOSITORY.exists() else _PACKAGE / "lite-clip.onnx"  # the wheel carries it

OnnxOption = Annotated[Path | None, typer.Option(help="exported model; the run's own if not given")]
ThreadsOption = Annotated[int, typer.Option(help="threads of onnxruntime; 0: all cores this process may use, -1: all but one")]
JsonOption = Annotated[bool, typer.Option("--json", help="print the result as JSON on stdout, nothing else")]


@contextmanager
def _user_errors() -> Iterator[None]:
    """Prints a UserError, or what the system refuses, as one line and exits with 2; Ctrl-C exits with 130."""
    try:
        yield
    except UserError as error:
        typer.echo(f"edge-sharpzo: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        typer.echo(f"edge-sharpzo: cannot use{where}: {error.strerror or error}. Check the path and its permissions", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("edge-sharpzo: interrupted", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Within it, SIGTERM ends a run as Ctrl-C does: the best prompt so far is kept."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _print_json(value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no text
        text = json.dumps(value, indent=1)
    print(text)


def _version(show: bool) -> None:
    if show:
        from edge_sharpzo import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False) -> None:
    """Fine-tunes CLIP's prompt on the device it runs on, with forward passes only."""
    del version  # its callback has printed it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # file names that are no text come out as they are


@app.command()
def tune(
    data: Annotated[
        Path | None, typer.Option(help="folder of photos: DIR/<class>/*, or DIR/train/<class>/* with optional val/ and test/", show_default=False)
    ] = None,
    onnx: Annotated[Path, typer.Option(help="exported model; the small embedded one if not given", show_default=False)] = EMBEDDED_MODEL,
    out: Annotated[Path | None, typer.Option(help="folder for the results; runs/<time> if not given", show_default=False)] = None,
    shots: Annotated[int, typer.Option(help="training photos a class")] = 16,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    template: Annotated[str, typer.Option(help="prompt, {} is the class name; the words before it become the tuned context")] = "a photo of a {}.",
    context_tokens: Annotated[
        int | None, typer.Option(help="context vectors to tune; 8 for gauss-newton if not given, for others as many as the template's words")
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="file with lines 'folder = name'; underscores in folders read as spaces without it")
    ] = None,
    method: Annotated[str | None, typer.Option(help="gauss-newton (the default), sharpzo, cma-es, zo-sgd, cge or random", show_default=False)] = None,
    preset: Annotated[str, typer.Option(help="default, or paper: SharpZO's published settings")] = "default",
    paper_task: Annotated[str, typer.Option(help="whose column of the paper's Table 8: dtd, eurosat, pets ...")] = "dtd",
    budget: Annotated[int | None, typer.Option(help="queries to spend; a query is one loss evaluation of one candidate")] = None,
    minutes: Annotated[float | None, typer.Option(help="time to spend on tuning")] = None,
    threads: ThreadsOption = 0,
    max_memory: Annotated[int | None, typer.Option(help="MB that the process may hold at most", show_default=False)] = None,
    provider: Annotated[str, typer.Option(help="execution provider: auto, cpu, cuda, tensorrt, coreml, openvino, xnnpack")] = "cpu",
    head: Annotated[str, typer.Option(help="closed-form classifier to mix in: none, gda, or auto: class means, ridge and gda together")] = "auto",
    resume: Annotated[
        Path | None, typer.Option(help="go on with an interrupted run, under the options it was started with", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tunes the prompt on labelled photos and writes a run folder."""
    with _user_errors():
        if (data is None) == (resume is None):
            raise UserError("give --data a folder of photos, or --resume the folder of an interrupted run, and not both")
        from edge_sharpzo.commands.run_record import TuneOptions
        from edge_sharpzo.commands.tune import resumed_options, run_tune
        from edge_sharpzo.display import Display
        from edge_sharpzo.providers import resolve

        options = (
            resumed_options(resume)
            if resume
            else TuneOptions(
                onnx=onnx,
                data=data or Path(),
                out=out or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S"),
                shots=shots,
                seed=seed,
                template=template,
                context_tokens=context_tokens,
                class_names=class_names,
                method=method,
                preset=preset,
                paper_task=paper_task,
                budget=budget,
                minutes=minutes,
                threads=_threads(threads),
                max_memory=max_memory,
                provider=resolve(provider),
                head=head,
            )
        )
        with _sigterm_as_interrupt(), Display() as display:
            summary = run_tune(options, display, resume is not None)
        if as_json:
            _print_json({"run": str(options.out), **summary})
        else:
            _print_summary(summary, options.out)
        if summary["stopped_because"] == "interrupted":
            typer.echo(f"interrupted; go on with: edge-sharpzo tune --resume {options.out}", err=True)
            raise typer.Exit(130)


def _threads(asked: int) -> int:
    if asked < -1:
        raise UserError(f"--threads {asked}: use 0 for all cores, -1 for all but one, or a positive number")
    from edge_sharpzo.machine import usable_cores

    return asked if asked > 0 else max(1, usable_cores() + asked)


def _verdict(accuracies: dict[str, Any]) -> str:
    """Which of prompt and closed-form head won, and what the classifier is made of."""
    split = "test" if accuracies["tuned"]["test"] is not None else "val"
    prompt, head = accuracies["tuned"][split], accuracies["head"][split]
    mixed = accuracies["classifier"]["head"]
    made = "the tuned prompt alone" if mixed == "none" else f"the tuned prompt with the {mixed} head"
    if prompt is None:
        return f"the classifier is {made}"
    winner = "are level" if prompt == head else "prompt wins" if prompt > head else f"{accuracies['head']['name']} head wins"
    where = "held-out" if split == "test" else "validation"
    return f"prompt and closed-form head on {where} photos: {winner}; the classifier is {made}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _print_summary(summary: dict[str, Any], out: Path) -> None:
    data, queries, seconds = summary["data"], summary["queries"], summary["seconds"]
    print(f"{data['classes']} classes; {data['train']} training, {data['val']} validation, {data['test']} held-out photos")
    accuracies = summary["accuracy"]
    labels = {"zero_shot": "zero-shot", "tuned": "tuned prompt", "head": f"{accuracies['head']['name']} head", "classifier": "classifier"}
    for name, label in labels.items():
        scores = accuracies[name]
        print(f"{label:16} validation {_percent(scores['val']):>7}   held-out {_percent(scores['test']):>7}")
    print(_verdict(accuracies))
    kinds = ", ".join(f"{count:,} {kind.replace('_', '-')}" for kind, count in queries["by_kind"].items())
    print(f"{queries['total']:,} queries ({kinds})")
    print(f"{seconds['features']:.1f} s for photos, {seconds['tuning']:.1f} s tuning; stopped: {summary['stopped_because']}")
    val = {name: summary["accuracy"][name]["val"] for name in ("zero_shot", "tuned")}
    if val["tuned"] is not None and val["tuned"] < val["zero_shot"]:
        print("tuning lost to the template as written on validation photos: try more shots, or keep the template")
    print(f"run: {out}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="run folder")],
    images: Annotated[list[Path], typer.Argument(help="photos, folders of photos, or - for a list on standard input")],
    top: Annotated[int, typer.Option(help="classes to name for each photo")] = 3,
    onnx: OnnxOption = None,
    threads: ThreadsOption = 0,
    as_csv: Annotated[bool, typer.Option("--csv", help="print file, class and probability as CSV")] = False,
    as_json: JsonOption = False,
) -> None:
    """Classifies photos with a tuned prompt."""
    with _user_errors():
        from edge_sharpzo.commands.classify import run_predict
        from edge_sharpzo.display import Display

        if as_json and as_csv:
            raise UserError("--json and --csv: choose one")
        results = run_predict(run, images, onnx, _threads(threads), Display(), top)
        if as_json:
            _print_json(results)
            return
        if as_csv:
            writer = csv.DictWriter(sys.stdout, ["file", "class", "probability", "sure", "error"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(results)
            return
        for result in results:
            if "error" not in result:
                others = ", ".join(f"{t['class']} {100 * t['probability']:.1f} %" for t in result["top"][1:])
                doubt = "" if result["sure"] else "not sure: "
                print(f"{result['file']}: {doubt}{result['class']} {100 * result['probability']:.1f} %" + (f"  ({others})" if others else ""))


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="run folder")],
    data: Annotated[Path, typer.Option(help="labelled photos: DIR/test/<class>/* or DIR/<class>/*")],
    class_names: Annotated[
        Path | None, typer.Option(help="file with lines 'folder = class of the run', for photos whose folders are called otherwise")
    ] = None,
    onnx: OnnxOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measures a tuned prompt on labelled photos."""
    with _user_errors():
        from edge_sharpzo.commands.classify import run_eval
        from edge_sharpzo.display import Display

        with Display() as display:
            result = run_eval(run, data, onnx, _threads(threads), display, class_names)
        if as_json:
            _print_json(result)
            return
        print(f"accuracy {_percent(result['accuracy'])} on {result['photos']} photos")
        for name, value in result["by_class"].items():
            print(f"  {_percent(value):>7}  {name}")


@app.command()
def info(target: Annotated[Path, typer.Argument(help="an exported model, or a run folder")]) -> None:
    """Prints what a model file or a run holds, as JSON."""
    with _user_errors():
        from edge_sharpzo.commands.info import run_info

        _print_json(run_info(target))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="run folders")],
    as_json: JsonOption = False,
) -> None:
    """Shows finished runs side by side."""
    with _user_errors():
        from edge_sharpzo.commands.compare import differing, run_compare

        rows = run_compare(runs)
        if as_json:
            _print_json(rows)
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("", *(Path(row["run"]).name for row in rows), box=None)
        for name in list(rows[0])[1:]:
            shares = "held-out" in name or "validation" in name
            cells = [_percent(row[name]) if shares and name != "held-out photos" else str(row[name]) for row in rows]
            table.add_row(name, *cells)
        Console().print(table)
        if names := differing(rows):
            print(f"these runs differ in {names}: their accuracies do not compare")


@app.command()
def doctor(
    onnx: Annotated[Path, typer.Option(help="exported model; the small embedded one if not given", show_default=False)] = EMBEDDED_MODEL,
    threads: ThreadsOption = 0,
    provider: Annotated[str, typer.Option(help="execution provider to time")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Says whether this device can tune, which providers run, and what a query costs."""
    with _user_errors():
        from edge_sharpzo.commands.doctor import run_doctor
        from edge_sharpzo.providers import resolve

        found = run_doctor(onnx, _threads(threads), resolve(provider))
        if as_json:
            _print_json(found)
            return
        print(", ".join(f"{name} {value}" for name, value in found["versions"].items()))
        memory = "memory unknown" if found["available_memory_mb"] is None else f"{found['available_memory_mb']} MB of memory free"
        print(f"{found['cores']} cores, {memory}, photo features kept in {found['cache']}")
        for name, answer in found["providers"].items():
            print(f"provider {name:9} {answer}")
        print(f"{found['model']}, {found['classes']} classes, {found['provider']}, {found['threads']} threads: {found['ms_per_query']} ms a query")
        print(f"a default run of ten classes: {found['minutes_for_default_budget']} min")
        print(f"the text tower answers to {found['noise_floor']:.0e}; finite differences take a step of {found['difference_step']:.2g}")
