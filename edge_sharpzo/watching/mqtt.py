"""Answers and states for an MQTT broker, which may go away and come back."""

import hashlib
import json
import re
import secrets
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from edge_sharpzo.engines.spread import Tell
from edge_sharpzo.photos.background import NONE_OF_THESE
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import package_version
from edge_sharpzo.system.text import counted, first_line, now
from edge_sharpzo.watching.broker import PASSWORD, Broker
from edge_sharpzo.watching.trouble import Trouble

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

QUEUE = 3600  # answers that wait for a broker: an hour's, one a second
KEEPALIVE = 30  # seconds; a broker that hangs is noticed after one and a half times that
LONGEST_PAUSE = 30  # seconds between two tries to connect
WAIT = ". Answers wait, and it is tried again"
FAREWELL = 5.0  # seconds at the end for what is still to be delivered


def check_extra() -> None:
    """Raises UserError where the client is not installed."""
    if find_spec("paho") is None or find_spec("paho.mqtt") is None:
        raise UserError("`mqtt` needs paho-mqtt: pip install 'edge-sharpzo[mqtt]'", field="mqtt")


class Mqtt:
    """A connection that is made, and made again, in the background.

    Under the broker's topic lie each answer (the topic itself), `state` and `availability`, both
    retained; Home Assistant finds the state by a message of its discovery. Answers wait while the
    broker is away, up to `QUEUE`; further ones are dropped and counted. A context manager: leaving
    it takes leave of the broker.
    """

    def __init__(self, broker: Broker, labels: Sequence[str], tell: Tell):
        """`labels` are the classes. Raises UserError where the client is not installed."""
        check_extra()
        self._broker, self._tell, self._trouble = broker, tell, Trouble(tell)
        self._labels = list(labels)
        self._state = {"state": None, "time": now()}  # takes the place of an earlier watcher's
        self._sent = _Sent()
        self._dropped = 0
        self._is_new = False  # a connection by which nothing has arrived yet
        self._missed = 0, 0  # answers that waited, and were dropped, when it last connected
        self._client = self._made()

    def _made(self) -> "Client":
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        # By its name the broker knows that a new connection takes the place of a dead one, whose
        # last will must not come later.
        client = Client(CallbackAPIVersion.VERSION2, f"edge-sharpzo-{secrets.token_hex(6)}")
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.is_encrypted:
            client.tls_set()
        client.will_set(self._topic("availability"), "offline", qos=1, retain=True)
        client.max_queued_messages_set(0)  # `QUEUE` is counted here
        client.reconnect_delay_set(1, LONGEST_PAUSE)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_publish = self._on_connect_fail, self._on_publish
        return client

    def __enter__(self) -> Self:
        if self._broker.shows_password:
            self._tell(
                f"the password goes to {self._broker} unencrypted: mqtts:// encrypts it", True
            )
        self._client.connect_async(self._broker.host, self._broker.port, KEEPALIVE)
        self._client.loop_start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._client.is_connected():
            self._publish(self._topic("availability"), "offline")
            until = time.monotonic() + FAREWELL
            while self._client.is_connected() and self._sent.any() and time.monotonic() < until:
                time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
        if lost := self._sent.answers() + self._dropped:
            self._tell(f"{counted(lost, 'answer')} not delivered to {self._broker}", True)

    def look(self) -> None:
        """Says that the broker is there, once that has held; to be called now and then."""
        if not (self._trouble.is_told and self._client.is_connected()):
            return
        waited, dropped = self._missed
        told = f"{self._broker} is there: {counted(waited, 'answer')} waited"
        told += f", {dropped:,} dropped" if dropped else ""
        if self._trouble.end(told, bool(dropped)):
            self._dropped -= dropped

    def use(self, labels: Sequence[str], state: str | None) -> None:
        """The classes are others from now on; `state` is None where it was one of the old ones."""
        self._labels, is_other = list(labels), state != self._state["state"]
        if is_other:
            self._state = {"state": state, "time": now()}
        if self._client.is_connected():
            self._announce()
            if is_other:
                self._publish_state()

    def answer(self, row: dict[str, Any]) -> None:
        """Sends an answer; one that changes the state, that too."""
        if self._sent.answers() < QUEUE:
            self._publish(self._broker.topic, json.dumps(row), is_answer=True)
        else:
            self._dropped += 1
            if self._dropped == 1:
                self._tell(
                    f"{QUEUE:,} answers wait for {self._broker}: further ones are dropped until "
                    "it is back",
                    True,
                )
        if row["changed"]:
            self._state = {key: row[key] for key in ("state", "time")}
            if self._client.is_connected():  # else it is told when it is
                self._publish_state()

    def _topic(self, name: str) -> str:
        return f"{self._broker.topic}/{name}"

    def _publish(self, topic: str, text: str, is_answer: bool = False) -> None:
        """Delivered at least once; all but answers are retained."""
        self._sent.add(self._client.publish(topic, text, 1, not is_answer).mid, is_answer)

    def _publish_state(self) -> None:
        self._publish(self._topic("state"), json.dumps(self._state))

    def _announce(self) -> None:
        """Tells Home Assistant what there is."""
        topic = self._broker.topic
        name = f"edge_sharpzo_{re.sub(r'[^A-Za-z0-9_-]+', '_', topic)}"
        name += f"_{hashlib.sha256(topic.encode()).hexdigest()[:6]}"  # topics that look alike
        about = {"name": "edge-sharpzo", "sw_version": package_version()}
        config = {
            "name": "State",
            "unique_id": name,
            "state_topic": self._topic("state"),
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": topic,
            "availability_topic": self._topic("availability"),
            "device_class": "enum",
            "options": list(dict.fromkeys([*self._labels, NONE_OF_THESE])),
            "device": {"identifiers": [name], "name": topic, "manufacturer": about["name"]},
            "origin": about,
        }
        self._publish(f"homeassistant/sensor/{name}/state/config", json.dumps(config))

    # What follows is called from the client's thread.

    def _on_connect(
        self, _client: "Client", _data: Any, _flags: Any, code: "ReasonCode", _more: Any
    ) -> None:
        if code.is_failure:
            refusal = f"{self._broker} refuses ({code}): look at the user and {PASSWORD}"
            self._trouble.begin(refusal + WAIT, is_other=True)
            return
        self._missed = self._sent.answers(), self._dropped
        self._announce()
        self._publish_state()  # first: what the broker kept may be of long ago
        self._publish(self._topic("availability"), "online")
        self._is_new = True

    def _on_connect_fail(self, _client: "Client", _data: Any) -> None:
        error = sys.exc_info()[1]  # the client is about to catch it
        why = f" ({first_line(error, 120)})" if error else ""
        self._trouble.begin(f"no broker answers at {self._broker}{why}{WAIT}")

    def _on_disconnect(
        self, _client: "Client", _data: Any, _flags: Any, code: "ReasonCode", _more: Any
    ) -> None:
        if code.is_failure:
            self._trouble.begin(f"{self._broker} went away{WAIT}")

    def _on_publish(
        self, _client: "Client", _data: Any, number: int, _code: "ReasonCode", _more: Any
    ) -> None:
        self._sent.arrived(number)
        if self._is_new:  # behind what is sent again: that may tell older ones
            self._publish_state()
        self._is_new = False


class _Sent:
    """Messages that were given to the client and whose arrival is not known; for two threads.

    The lock is not held while the client is called, which has locks of its own: a message may
    arrive before it is known here.
    """

    def __init__(self) -> None:
        self._on_the_way = dict[int, bool]()  # number of the message -> whether it is an answer
        self._early = set[int]()
        self._lock = Lock()

    def add(self, number: int, is_answer: bool) -> None:
        """It was given to the client."""
        with self._lock:
            if number in self._early:
                self._early.discard(number)
            else:
                self._on_the_way[number] = is_answer

    def arrived(self, number: int) -> None:
        """The broker has it."""
        with self._lock:
            if self._on_the_way.pop(number, None) is None:
                self._early.add(number)

    def answers(self) -> int:
        """How many of them are answers, or a few less: not those that tell a state."""
        with self._lock:
            return sum(self._on_the_way.values())

    def any(self) -> bool:
        """Whether there is one."""
        with self._lock:
            return bool(self._on_the_way)
