"""The loop: a frame, its answer, what the last answers agree on, and who hears of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sharpzo.photos.background import NONE_OF_THESE
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.stopping import Stop
from edge_sharpzo.system.text import now, rounded_down
from edge_sharpzo.watching.consensus import Consensus
from edge_sharpzo.watching.mqtt import Mqtt
from edge_sharpzo.watching.region import OutsideError, Region
from edge_sharpzo.watching.reload import Reloader
from edge_sharpzo.watching.sources import Frame, Frames
from edge_sharpzo.watching.unsure import Unsure

Row = dict[str, Any]


@dataclass(frozen=True)
class Watcher:
    """A classifier that watches.

    `region` None is the whole picture, `unsure` None keeps no photos, `mqtt` None tells no broker.
    """

    frames: Frames
    reloader: Reloader
    consensus: Consensus
    region: Region | None
    unsure: Unsure | None
    mqtt: Mqtt | None

    def rows(self, stop: Stop) -> Iterator[Row]:
        """For each frame its answer, as soon as it is known.

        `{time, frame, source, class, probability, sure, known, state, changed}`; for one that
        cannot be read, or that does not hold the region, `error` in place of the answer. Raises
        UserError where the first picture of a camera or video does not hold it, or no more come.
        """
        while True:
            with stop.interruptible():
                try:
                    frame = next(self.frames)
                except StopIteration:
                    return
            if self.reloader.look():
                self._renew()
            if self.mqtt:
                self.mqtt.look()
            if frame is not None:
                row = self._row(frame)
                if self.mqtt:
                    self.mqtt.answer(row)
                yield row

    def _renew(self) -> None:
        """Another classifier is at work; it may have other classes."""
        labels = self.reloader.classifier.labels
        self.consensus.keep_to({*labels, NONE_OF_THESE})
        if self.mqtt:
            self.mqtt.use(labels, self.consensus.state)

    def _row(self, frame: Frame) -> Row:
        row: Row = {"time": now(), "frame": frame.number, "source": frame.source}
        found = self._answer(frame)
        changed = False
        if isinstance(found, str):
            row["error"] = found
        else:
            row |= found
            vote = found["class"] if found["sure"] else None
            changed = self.consensus.hear(NONE_OF_THESE if found["known"] is False else vote)
        return row | {"state": self.consensus.state, "changed": changed}

    def _answer(self, frame: Frame) -> Row | str:
        """What the classifier says, or why it cannot."""
        picture = frame.picture
        if isinstance(picture, str):
            return picture
        if self.region:
            try:
                picture = np.ascontiguousarray(self.region.cut(picture))
            except OutsideError as error:
                if frame.number == 1 and not frame.is_one_of_many:
                    raise UserError(f"`region`: {error}: give a smaller one", "region") from error
                return f"outside the region: {error}"
        classifier, why = self.reloader.classifier, list[str]()
        features, _ = classifier.encode([picture], lambda index, reason: why.append(reason))
        if why:
            return why[0]
        (answer,) = classifier.answers(features)
        if self.unsure and not answer.sure and answer.known is not False:
            self.unsure.keep(picture, features[0], frame.number)
        return {
            "class": answer.label,
            "probability": rounded_down(answer.probability, 6),
            "sure": answer.sure,
            "known": answer.known,
        }
