"""`watch`: states, regions, and addresses of brokers, as they are asked for."""

import numpy as np
import pytest

from edge_sharpzo import UserError
from edge_sharpzo.watching.broker import PASSWORD, Broker
from edge_sharpzo.watching.consensus import Consensus
from edge_sharpzo.watching.region import OutsideError, Region

NOTHING = "-"  # an answer that is not sure


@pytest.mark.parametrize(
    ("agree", "answers", "states"),
    [
        ("1/1", "a b a", "a b a"),
        ("2/2", "a a b a b b", ". a a a a b"),
        ("2/3", "a b a b b", ". . a b b"),
        ("3/5", "a a b a b a b b", ". . . a a a b b"),
        ("3/5", "a a a - - - - -", ". . a a a a a a"),  # not sure is no change
        ("3/5", "- - a - a - - a", ". . . . . . . ."),  # never three of five
        ("3/5", "a a a N b N b N", ". . a a a a a N"),
        ("2/5", "a a b b c c", ". a a a a c"),  # stays while it has two itself; then the most
        ("2/6", "a a b b - -", ". a a a a a"),
        ("2/6", "a a b b - - -", ". a a a a a b"),
        ("1/3", "a b c d a", "a a a d d"),
    ],
)
def test_states_change_when_enough_agree(agree: str, answers: str, states: str) -> None:
    consensus, seen, before = Consensus.parsed(agree), list[str](), None
    for answer in answers.split():
        changed = consensus.hear(None if answer == NOTHING else answer)
        assert changed == (consensus.state != before)
        before = consensus.state
        seen.append(consensus.state or ".")
    assert " ".join(seen) == states


def test_a_state_that_is_no_class_any_more_is_forgotten() -> None:
    consensus = Consensus(2, 3)
    for answer in ("a", "a", "b"):
        consensus.hear(answer)
    assert not consensus.keep_to({"a", "b"})
    assert consensus.state == "a"
    assert consensus.keep_to({"b", "c"})
    assert consensus.state is None
    assert consensus.hear("b")  # the one before counts still
    assert consensus.state == "b"


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/5", "0/5", "6/5", "3/1001", "-1/5", "a/b", "1.5/2"]
)
def test_how_many_agree_is_checked(text: str) -> None:
    with pytest.raises(UserError, match="such as 3/5") as caught:
        Consensus.parsed(text)
    assert caught.value.field == "agree"


def test_a_region_is_cut_out() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    assert np.array_equal(Region.parsed("2, 1,3 ,4").cut(picture), picture[1:5, 2:5])
    assert np.array_equal(Region.parsed("0,0,8,6").cut(picture), picture)


@pytest.mark.parametrize(
    ("text", "reach"), [("0,0,9,6", "9 x 6"), ("7,5,1,2", "8 x 7"), ("8,0,1,1", "9 x 1")]
)
def test_a_region_outside_is_refused(text: str, reach: str) -> None:
    with pytest.raises(OutsideError, match=f"reaches to {reach} pixels, and the picture has 8 x 6"):
        Region.parsed(text).cut(np.zeros((6, 8, 3), np.uint8))


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "0,0,0,5", "0,0,5,0", "-1,0,5,5", "0.5,0,5,5", "a,b,c,d"]
)
def test_a_region_is_four_numbers(text: str) -> None:
    with pytest.raises(UserError, match="X,Y,W,H") as caught:
        Region.parsed(text)
    assert caught.value.field == "region"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mqtt://host/a", ("host", 1883, "a", None, False)),
        ("mqtts://host/a", ("host", 8883, "a", None, True)),
        ("mqtt://joe@host:77/a/b/", ("host", 77, "a/b", "joe", False)),
        ("mqtt://host/a%3Fb c", ("host", 1883, "a?b c", None, False)),
        ("mqtt://j%40e@[::1]/home/door%201", ("::1", 1883, "home/door 1", "j@e", False)),
    ],
)
def test_brokers(text: str, told: tuple[object, ...]) -> None:
    broker = Broker.parsed(text)
    found = broker.host, broker.port, broker.topic, broker.user, broker.is_encrypted
    assert found == told
    assert broker.password is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no address"),
        ("host/topic", "no address"),
        ("http://host/topic", "no address"),
        ("mqtt:///topic", "no address"),
        ("mqtt://host/t?retain=1", "no address"),
        ("mqtt://host/a/#", "A topic has no #"),
        ("mqtt://host/a#", "A topic has no #"),
        ("mqtt://host/a#b", "A topic has no #"),
        ("mqtt://host/a?", "a ? in it is written %3F"),
        ("mqtt://host/a?#", "no address"),
        ("mqtt://host/a\tb", "no address"),
        ("mqtt://host/a\n", "no address"),
        ("mqtt://host/a\x1f", "no address"),
        ("mqtt://host/%ff", "no text"),
        ("mqtt://%ff@host/a", "no text"),
        ("mqtt://host:0/t", "no address"),
        ("mqtt://host:99999/t", "host or port"),
        ("mqtt://host:door/t", "host or port"),
        ("mqtt://host", "topic is missing"),
        ("mqtt://host/", "topic is missing"),
        ("mqtt://host/a/+", "without"),
        ("mqtt://host/a%23", "without"),
        ("mqtt://host/$SYS/a", "without"),
        ("mqtt://host/a%0Ab", "without"),
        ("mqtt://host/" + "a" * 201, "without"),
        ("mqtt://joe:secret@host/a", PASSWORD),
        ("mqtt://joe:secret@host:0.5/a", "host or port"),
        ("mqtts://joe:secret@[::1/a", "host or port"),
        ("mqtt://joe:secret@ho\u2100st/a", "host or port"),
        ("mqtt://joe:secret/9@host/a", "host or port"),  # a password that is not escaped
        ("mqtt://joe:#secret@host/a", "no address"),
        ("mqtt://joe:?secret@host/a", "no address"),
        ("mqtt://joe:secret", "host or port"),
        ("mqtt//joe:secret@host/a", "no address"),
        ("joe:secret@host/a", "no address"),
        ("mqtt:joe:secret@host/a", "no address"),
    ],
)
def test_what_is_no_broker(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        Broker.parsed(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.field == "mqtt"


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    shown = {
        address: Broker.parsed(f"{address}/a").shows_password
        for address in (
            "mqtt://j@host",
            "mqtts://j@host",
            "mqtt://j@localhost",
            "mqtt://j@127.0.0.9",
        )
    }
    assert list(shown.values()) == [True, False, False, False]
    assert Broker.parsed("mqtt://j@host/a").password == "secret"
    with pytest.raises(UserError, match="a user is missing"):
        Broker.parsed("mqtt://host/a")
