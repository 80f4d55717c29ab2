"""The photo sets that accuracy is measured on: folders `<set>/{train,test}/<class>`, each with its
prompt template.
"""

import time
from dataclasses import replace
from pathlib import Path

from edge_sharpzo.clip.clip_file import ClipOnnx
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.events import Event
from edge_sharpzo.photos.found import Found, find_photos
from edge_sharpzo.pipeline import Prepared, Task, prepare
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.system.stopping import StopWhen
from edge_sharpzo.tuning.methods.plan import Plan, Request
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.objective import DEFAULT_TEMPLATE
from edge_sharpzo.tuning.start import Start

# The sets of the published figures; a folder of another name takes DEFAULT_TEMPLATE, or its own
# template.txt.
TEMPLATES = {
    "clothing": "a photo of a {}.",
    "trashnet": "a photo of {} waste.",
    "grocery": "a photo of {} in a grocery store.",
    "ucmerced": "a centered satellite photo of {}.",
    "dtd10": "{} texture.",
}


def template_of(folder: Path) -> str:
    """The set's prompt template."""
    own = folder / "template.txt"
    return (
        own.read_text(encoding="utf8").strip()
        if own.exists()
        else TEMPLATES.get(folder.name, DEFAULT_TEMPLATE)
    )


def load_problem(clip: ClipOnnx, folder: Path, shots: int, seed: int) -> Prepared:
    """Draws and encodes (or reads from the cache) the photos of one set."""
    return encoded(clip, find_photos(folder), template_of(folder), shots, seed)


def encoded(clip: ClipOnnx, found: Found, template: str, shots: int, seed: int) -> Prepared:
    """One few-shot draw of a set, ready for the default method; `with_method` takes another.

    Copies among the photos are left out, as in every run.
    """
    options = TuneOptions(
        data=found.root,
        onnx=clip.path,
        shots=shots,
        seed=seed,
        template=template,
        threads=clip.threads,
        provider=clip.provider,
    )
    prompt = clip.prompts.for_tuning(found.names[: found.learnt], template)
    rows = clip.prompts.as_written(found.names, template)
    task = Task(options, plan(), clip, found, prompt, rows, time.monotonic())
    return prepare(task, quiet, StopWhen())


def preferred(clip: Clip, method: str, request: Request) -> Plan:
    """The plan of `method` from the start that a run takes where none is asked for."""
    start = plan(method).prefers if clip.search_start is not None else Start.WORDS
    return plan(method, replace(request, start=start))


def quiet(event: Event) -> None:
    """Nobody listens."""


def with_method(problem: Prepared, chosen: Plan, context_tokens: int | None = None) -> Prepared:
    """The same photos for another method."""
    task, tokens = problem.task, context_tokens or chosen.context_tokens
    names, template = task.found.names[: task.found.learnt], task.options.template
    prompt = task.clip.prompts.for_tuning(names, template, tokens)
    task.clip.close_tokenizer()
    return replace(problem, task=replace(task, plan=chosen, prompt=prompt))
