"""Where the library's errors and results become text for a terminal, in one place."""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import typer

from edge_sharpzo.runs.options import TuneOptions, info_of
from edge_sharpzo.system.errors import Cancelled, UserError, os_error_text
from edge_sharpzo.system.text import one_line

# Options by the names that the library's messages call them; `top` is the command line's own.
_FIELDS = {each.name for each in fields(TuneOptions) if info_of(each.name).shown} | {
    "overwrite",
    "resume",
    "top",
}
_MENTION = re.compile(r"`(\w+)(?:=([^`]*))?`")


def as_flags(text: str) -> str:
    """A message of the library with its options, `shots` or `head=none`, as flags."""

    def flag(mention: re.Match[str]) -> str:
        name, value = mention.groups()
        if name not in _FIELDS:
            return mention[0]
        given = "" if value is None else f" {shlex.quote(value)}"
        return f"--{name.replace('_', '-')}{given}"

    return _MENTION.sub(flag, text)


@contextmanager
def user_errors() -> Iterator[None]:
    """Prints what the user can mend as one line and exits with 2; Ctrl-C exits with 130."""
    try:
        yield
    except UserError as error:
        typer.echo(f"edge-sharpzo: {one_line(as_flags(str(error)))}", err=True)
        raise typer.Exit(2) from None
    except BrokenPipeError:  # `| head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(128 + 13) from None  # as a program that SIGPIPE ends
    except MemoryError:
        typer.echo("edge-sharpzo: memory ran out: free some, or take fewer photos", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"edge-sharpzo: {os_error_text(error)}", err=True)
        raise typer.Exit(2) from None
    except (KeyboardInterrupt, Cancelled):
        typer.echo("edge-sharpzo: interrupted", err=True)
        raise typer.Exit(130) from None


def print_json(value: Any) -> None:
    """On stdout."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no text
        text = json.dumps(value, indent=1)
    print(text)
