"""Text for people."""

import unicodedata

LINE_BREAKS = ("Cc", "Zl", "Zp")  # Unicode's categories of controls and separators


def percent(value: float | None) -> str:
    """A share for people; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


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


def one_line(value: str) -> str:
    """`value` with what is no text for one line, as `is_line` has it, written as escapes."""
    return "".join(c if is_line(c) else ascii(c)[1:-1] for c in value)


def first_line(error: BaseException, most: int) -> str:
    """What an error says, up to its first line break or `most` characters; its class otherwise."""
    return (str(error).splitlines() or [type(error).__name__])[0][:most]
