"""`edge-sharpzo check`: which labelled photos may hurt, without tuning."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_sharpzo.cli.boundary import as_flags, user_errors
from edge_sharpzo.cli.flags import JsonFlag, with_check_options
from edge_sharpzo.cli.terminal import out, out_json
from edge_sharpzo.photos.left_out import told

if TYPE_CHECKING:
    from edge_sharpzo.checking import CheckedPhotos


@with_check_options
def command(*, as_json: JsonFlag = False, **options: Any) -> None:
    """Looks for wrong labels, near-duplicates and classes with too few photos."""
    with user_errors():
        from edge_sharpzo.checking import check_photos
        from edge_sharpzo.cli.display import Display
        from edge_sharpzo.runs.options import TuneOptions

        with Display() as display:
            checked = check_photos(TuneOptions(**options), display.hear)
        if as_json:
            out_json(_record(checked))
        else:
            _print(checked)


def _record(checked: "CheckedPhotos") -> dict[str, Any]:
    found = asdict(checked)
    return {**found.pop("found"), **found}


def _print(checked: "CheckedPhotos") -> None:
    out(f"{checked.photos:,} photos of {checked.classes:,} classes")
    if not_used := told(checked.left_out):
        out(not_used)
        for group in checked.left_out:
            for example in group.examples:
                out(f"  {example}")
            if more := group.files - len(group.examples):
                out(f"  and {more:,} more {group.reason}")
    lines = list(checked.found.told(most=None))
    for line in lines or ["no photo looks like another class, and no two are nearly the same"]:
        out(as_flags(line))
