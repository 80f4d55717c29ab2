"""Photos are encoded on each machine of a fleet, and what the machines see is compared."""

import json
from collections.abc import Mapping

from edge_sharpzo.clip.embedded import EMBEDDED_MODEL
from edge_sharpzo.events import Listener, Note
from edge_sharpzo.runs.json_files import as_json
from edge_sharpzo.runs.options import TuneOptions
from edge_sharpzo.sweeping import encode
from edge_sharpzo.sweeping.crew import Crew
from edge_sharpzo.sweeping.encode import Seen
from edge_sharpzo.sweeping.task import Ended, Job, host_of
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.stopping import Stop


def encode_on_machines(
    crew: Crew, sets: Mapping[str, TuneOptions], listen: Listener, stop: Stop
) -> dict[str, Seen]:
    """What the machines see of each set; `sets` has the options of a run on each, by its name.

    A machine without a worker that lives until the end is told, and gets no jobs from then on.
    Raises UserError where none is left, photos are refused, or machines do not see the same;
    Cancelled where `stop` asks for it.
    """
    machines = list(dict.fromkeys(host_of(address) for address in crew.slots()))
    wanted, set_of = list[Job](), dict[str, str]()
    for name, options in sets.items():
        for machine in machines:
            job = f"{options.data} on {machine}"
            set_of[job] = name
            wanted.append(Job(job, encode.__name__, _arguments(options), machine=machine))
    listen(Note(f"machines that encode the photos first: {len(machines)}"))
    seen = dict[str, tuple[str, str]]()  # by set: what was seen there first, and where

    def heard(job: Job, ended: Ended) -> None:
        if job.machine in crew.left_out:
            return
        if ended.code > 0:
            raise UserError(f"the photos {job.name}: {ended.why}")
        if ended.code:
            crew.left_out.add(job.machine)
            why = f"the photos {job.name} could not be encoded ({ended.why})"
            if crew.left_out.issuperset(machines):
                raise UserError(
                    f"{why}, and no other machine is left: start workers again; the same command "
                    "again goes on",
                    field="engine",
                )
            text = f"{why}: that machine takes no part until the same command is given again"
            listen(Note(text, warning=True))
            return
        name = set_of[job.name]
        before, where = seen.setdefault(name, (ended.out, job.machine))
        if before != ended.out:
            raise UserError(
                f"the machines {where} and {job.machine} do not have the same model and photos in "
                f"{sets[name].data}: copy those of one machine to the other",
                field="engine",
            )

    crew.run(wanted, heard, stop)
    return {name: Seen(**json.loads(told)) for name, (told, _) in seen.items()}


def _arguments(options: TuneOptions) -> tuple[str]:
    given = as_json({**vars(options), "threads": 0, "out": None})
    if options.onnx == EMBEDDED_MODEL:  # each machine has its own copy
        del given["onnx"]
    return (json.dumps(given),)
