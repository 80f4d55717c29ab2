"""Text for people."""


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
