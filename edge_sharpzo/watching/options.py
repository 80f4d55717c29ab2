"""The options of watching, which become flags of the command line."""

from dataclasses import dataclass
from pathlib import Path

from edge_sharpzo.runs.options import option
from edge_sharpzo.system.errors import UserError, not_one_of

UNSURE = "unsure"  # what may be saved


@dataclass(frozen=True)
class WatchOptions:
    """What is watched, and what becomes of the answers."""

    source: str = option(
        "",
        "what to watch: a folder that photos come into, a video file, camera, camera:N, or an "
        "address such as rtsp://host/stream",
    )
    every: float = option(
        1.0, "seconds from one frame to the next, 0 for each; or between looks into a folder"
    )
    region: str | None = option(None, "part of the picture to look at: X,Y,W,H in pixels")
    agree: str = option("3/5", "K/N: the state changes when K of the last N answers agree")
    save: str | None = option(None, "unsure: keep the pictures that it was not sure of")
    save_to: str | None = option(None, "folder that these go to")
    mqtt: str | None = option(
        None,
        "broker and topic that answers go to: mqtt://user@host/topic, or mqtts:// encrypted; the "
        "password is read from EDGE_SHARPZO_MQTT_PASSWORD",
    )

    @property
    def unsure_folder(self) -> Path | None:
        """Where pictures go, if they are to be kept. Raises UserError."""
        if self.save is None and self.save_to is None:
            return None
        if self.save is not None and self.save != UNSURE:
            raise not_one_of((UNSURE,), "save", self.save)
        if self.save is None or self.save_to is None:
            raise UserError(
                f"`save={UNSURE}` and `save_to` go together: give both, or none", field="save_to"
            )
        if not self.save_to.strip():  # as a path it would be the folder that one is in
            raise UserError(
                "`save_to` is empty, as of a variable that is not set: give a folder", "save_to"
            )
        return Path(self.save_to)
