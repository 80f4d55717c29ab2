"""Text for people."""

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

LINE_BREAKS = ("Cc", "Zl", "Zp")  # Unicode's categories of controls and separators
UNSEEN = (*LINE_BREAKS, "Cf", "Cs")  # and those of marks that reorder or hide text, and of no text
JOINERS = "\u200c\u200d"  # such marks that scripts and emoji are written with


def percent(value: float | None) -> str:
    """A share for people; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def rounded_down(share: float, digits: int) -> float:
    """To so many digits, and below 1: no answer is certain."""
    return min(math.floor(share * 10**digits), 10**digits - 1) / 10**digits


def now() -> str:
    """The time in UTC, to the millisecond, in the form of ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def some(items: Sequence[str], most: int = 3) -> str:
    """The first `most` items, and how many others there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return f"{', '.join(items[:most])}{more}"


def counted(number: int, noun: str) -> str:
    """So many of what `noun` calls one of, whose plural ends in s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first `most` names, and dots where there are others."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def is_text(value: str) -> bool:
    """Whether `value` can be written as UTF-8; a file's name may hold bytes that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_line(value: str) -> bool:
    """Whether `value` is text for one line of a file or a terminal: no breaks, no controls."""
    return is_text(value) and all(unicodedata.category(c) not in LINE_BREAKS for c in value)


def first_line(error: BaseException, most: int) -> str:
    """What an error says, up to its first line break or `most` characters; its class otherwise."""
    return (str(error).splitlines() or [type(error).__name__])[0][:most]


def shown(value: str) -> str:
    """`value` as one line that a terminal shows, and neither obeys nor reorders.

    Line breaks, controls, marks of direction and bytes that are no text become escapes, as `\\x1b`.
    """
    if value.isprintable():
        return value
    return "".join(
        _escape(c) if unicodedata.category(c) in UNSEEN and c not in JOINERS else c for c in value
    )


def _escape(character: str) -> str:
    byte = ord(character) - 0xDC00
    if 0x80 <= byte <= 0xFF:  # a byte of a file's name that is no text, as Python holds it
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode("ascii")


def as_spoken(name: str) -> str:
    """How prompts say a class that is called `name`, by its folder or by the user."""
    return name.replace("_", " ")


def folded(name: str) -> str:
    """What all spellings of one class's name share: case, forms of letters and spaces are not."""
    return " ".join(as_spoken(unicodedata.normalize("NFKC", name).casefold()).split())
