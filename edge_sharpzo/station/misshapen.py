"""What to tell of a request that has not the shape that its endpoint takes."""

import re

import msgspec

from edge_sharpzo.station.errors import AskedError
from edge_sharpzo.system.text import shown

MOST = 300  # characters of what is told
KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
# What msgspec says, and what that means for the part of the request that it says it of.
CAUSES = {
    r"Expected `str` of length >= 1": "is empty",
    r"Expected `array` of length >= 1": "is empty: give at least one entry",
    r"Expected `str` of length <= (\d+)": "has more than {} characters",
    r"Expected `array` of length <= (\d+)": "has more than {} entries",
    r"Expected `str` matching regex.*": "is no photo's id, 16 digits of 0 to 9, a to f",
    r"Expected `int` >= (\S+)": "has to be {} or more",
    r"Expected `int` <= (\S+)": "has to be {} or less",
    r"Expected `(.+)`, got `(.+)`": "has to be {}, and is {}",
    r"Object missing required field `(.+)`": "is missing",
    r"Object contains unknown field `(.+)`": "is nothing that is taken here",
}


def asked_error(error: msgspec.ValidationError) -> AskedError:
    """The answer, with the field at fault where it is one."""
    text, _, path = str(error).partition(" - at `$")
    fields = re.findall(r"\.([^.\[`]+)", path)
    for pattern, cause in CAUSES.items():
        if found := re.fullmatch(pattern, text, re.DOTALL):
            told = cause.format(*map(_kinds, found.groups()))
            break
    else:
        return AskedError(422, f"{text[:1].lower()}{text[1:MOST]}", fields[0] if fields else None)
    if text.startswith("Object "):
        fields.append(shown(found[1][:MOST]))
    what = " in ".join(reversed(fields)) or "what is sent"
    entry = "an entry of " if path.endswith("]`") else ""
    return AskedError(422, f"{entry}{what} {told}", fields[0] if fields else None)


def _kinds(names: str) -> str:
    return " or ".join(KINDS.get(name, name) for name in names.split(" | "))
