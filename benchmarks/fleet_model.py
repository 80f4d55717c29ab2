"""A model of a round's time on a fleet.

A call is prepared where the run is, travels there, is computed by a device, and its answer travels
back. Each of these does one call at a time, in the order in which they come; a device has as many
calls at once as `Spread` gives it. Nobody loses anything, and nothing else is on the link.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from edge_sharpzo.engines.spread import AT_ONCE


@dataclass(frozen=True)
class Call:
    """What one call costs."""

    up: int  # bytes of the request
    down: int  # and of the answer
    here: float  # seconds of the processor where the run is: messages written, read and checked
    there: float  # seconds of a device for the messages
    tower: float  # and for the tower


@dataclass(frozen=True)
class Handling:
    """Seconds that one side's processor takes for the messages of a call."""

    call: float
    byte: float

    def of(self, size: int) -> float:
        """Of a call with so many bytes, up and down."""
        return self.call + self.byte * size


@dataclass(frozen=True)
class Link:
    """How the machine with the run reaches all of its devices."""

    name: str
    round_trip: float  # s
    rate: float  # bytes a second in each direction


PERFECT = Link("none", 0.0, math.inf)
LINKS = (
    Link("loopback", 0.0, math.inf),
    Link("LAN, 1 Gbit/s, 0.3 ms", 0.3e-3, 1e9 / 8),
    Link("LAN, 100 Mbit/s, 1 ms", 1e-3, 100e6 / 8),
    Link("Wi-Fi, 20 Mbit/s, 5 ms", 5e-3, 20e6 / 8),
    Link("4G, 10 Mbit/s, 50 ms", 50e-3, 10e6 / 8),
)


@dataclass(frozen=True)
class Fleet:
    """So many devices alike; `cores` fewer of them may have to take turns on."""

    devices: int
    cores: int | None = None

    def core(self, device: int) -> int:
        """What a device computes on."""
        return device % (self.cores or self.devices)


def round_seconds(calls: Sequence[Call], link: Link, fleet: Fleet) -> float:
    """Seconds from the first call to the last answer.

    A device is given its next call when it has answered one.
    """
    order, left = count(), iter(calls)
    free: dict[str | int, float] = {}  # when each of those that do one call at a time is free again
    events: list[tuple[float, int, int, int, Call]] = []  # when, order, stage, device, call
    end = 0.0

    def take(device: int, now: float) -> None:
        if (call := next(left, None)) is not None:
            heapq.heappush(events, (now, next(order), 0, device, call))

    for _ in range(AT_ONCE):
        for device in range(fleet.devices):
            take(device, 0.0)
    while events:
        now, _, stage, device, call = heapq.heappop(events)
        if stage == 4:
            end = now
            take(device, now)
            continue
        where, seconds, later = (
            ("here", call.here, 0.0),
            ("up", call.up / link.rate, link.round_trip / 2),
            (fleet.core(device), call.there + call.tower, 0.0),
            ("down", call.down / link.rate, link.round_trip / 2),
        )[stage]
        free[where] = max(now, free.get(where, 0.0)) + seconds
        heapq.heappush(events, (free[where] + later, next(order), stage + 1, device, call))
    return end


def communication(calls: Sequence[Call], link: Link, fleet: Fleet) -> float:
    """The share of a round that would be saved if there were nothing to do but the tower."""
    alone = [replace(call, here=0.0, there=0.0) for call in calls]
    whole = round_seconds(calls, link, fleet)
    return max(0.0, 1 - round_seconds(alone, PERFECT, fleet) / whole)
