"""What a run is asked for and what it keeps on disk: options, records, checkpoint, report."""

from typing import TYPE_CHECKING

from edge_sharpzo.system.lazy import exports

if TYPE_CHECKING:
    from edge_sharpzo.runs.options import TuneOptions
    from edge_sharpzo.runs.records import Summary
    from edge_sharpzo.runs.run_config import RunConfig

__all__ = ["RunConfig", "Summary", "TuneOptions"]
__getattr__ = exports(
    __name__, {"RunConfig": "run_config", "Summary": "records", "TuneOptions": "options"}
)
