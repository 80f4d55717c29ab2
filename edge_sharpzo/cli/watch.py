"""`edge-sharpzo watch`: a finished run at work on a camera, a video or a folder."""

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_sharpzo.cli.boundary import user_errors
from edge_sharpzo.cli.flags import opened, tell, with_watch_options
from edge_sharpzo.cli.interrupts import Interrupts
from edge_sharpzo.cli.terminal import out_json_line
from edge_sharpzo.system.text import listed
from edge_sharpzo.watching.options import WatchOptions


@with_watch_options
def command(
    run: Annotated[Path, typer.Argument(help="run folder")],
    **flags: Any,
) -> None:
    """Classifies what a camera sees: a line of JSON for each frame."""
    with user_errors() as signals:
        own = {name: flags.pop(name) for name in WatchOptions.__dataclass_fields__}
        options = WatchOptions(**own)

        from edge_sharpzo.watching.broker import Broker
        from edge_sharpzo.watching.consensus import Consensus
        from edge_sharpzo.watching.region import Region
        from edge_sharpzo.watching.sources import frames_of

        consensus = Consensus.parsed(options.agree)
        region = Region.parsed(options.region) if options.region is not None else None
        broker = Broker.parsed(options.mqtt) if options.mqtt is not None else None
        folder = options.unsure_folder

        from edge_sharpzo.evaluation import CANNOT_REFUSE
        from edge_sharpzo.watching.mqtt import Mqtt
        from edge_sharpzo.watching.reload import Reloader
        from edge_sharpzo.watching.unsure import Unsure
        from edge_sharpzo.watching.watcher import Watcher

        with closing(frames_of(options.source, options.every, tell)) as frames:
            reloader = Reloader(run, lambda: opened(run, **flags), tell)
            labels = reloader.classifier.labels
            unsure = Unsure(folder, tell) if folder else None
            mqtt = Mqtt(broker, labels, tell) if broker else None
            if not reloader.classifier.can_refuse:
                tell(CANNOT_REFUSE, False)
            tell(f"{listed(labels)}: the state changes when {consensus} answers agree", False)
            watcher = Watcher(frames, reloader, consensus, region, unsure, mqtt)
            with mqtt or nullcontext(), Interrupts(signals) as stop:
                for row in watcher.rows(stop):
                    out_json_line(row)
