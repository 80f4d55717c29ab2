"""Where the library's errors become lines for a terminal and exit codes, in one place."""

import errno
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields

import typer

from edge_sharpzo.cli.interrupts import Signals
from edge_sharpzo.cli.terminal import say
from edge_sharpzo.runs.options import TuneOptions, info_of
from edge_sharpzo.sweeping.options import SweepOptions
from edge_sharpzo.system.errors import Cancelled, UserError, os_error_text
from edge_sharpzo.watching.options import WatchOptions

# Options by the names that the library's messages call them; the command line has more.
_FIELDS = {each.name for each in fields(TuneOptions) if info_of(each.name).shown}
_FIELDS |= {each.name for kind in (SweepOptions, WatchOptions) for each in fields(kind)}
_FIELDS |= {
    "also",
    "csv",
    "foreign",
    "host",
    "overwrite",
    "port",
    "resume",
    "run",
    "top",
}
# Between words, as our sentences have it; within a path or a quoted name it is somebody's own.
_MENTION = r"(?<![^\s(])`(?P<name>\w+)(?:=(?P<value>.*?))?`(?=[\s).,:;]|$)"
INTERRUPTED = 130  # what Ctrl-C, SIGTERM and SIGHUP exit with


def as_flags(text: str, given: Sequence[str] | None = None) -> str:
    """A message of the library with its options, `shots` or `head=none`, as flags.

    What was `given` on the command line, sys.argv by default, stays as it is.
    """

    def flag(mention: re.Match[str]) -> str:
        name, value = mention["name"], mention["value"]
        if name not in _FIELDS:
            return mention[0]
        flag = f"--{name.replace('_', '-')}"
        return flag if value is None else f"{flag} {shlex.quote(value)}"

    words = sorted(sys.argv[1:] if given is None else given, key=len, reverse=True)
    theirs = [re.escape(word) for word in words if "`" in word]
    return re.sub("|".join([*theirs, _MENTION]), flag, text, flags=re.DOTALL)


def _about_names(text: str) -> str:
    """What to do where the fault may be that names of files are read in another encoding."""
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8" or (text.isascii() and "\\udc" not in text):
        return ""
    return f". File names are read as {encoding} here: set PYTHONUTF8=1 to read them as UTF-8"


@contextmanager
def user_errors() -> Iterator[Signals]:
    """Prints what the user can mend as one line and exits with 2; a signal exits with 130."""
    with Signals() as signals:
        try:
            yield signals
        except UserError as error:
            say(f"edge-sharpzo: {as_flags(str(error))}{_about_names(str(error))}")
            raise typer.Exit(2) from None
        except BrokenPipeError as error:  # `| head`: nobody reads on, which is no error
            if error.errno == errno.EBADF:
                say("edge-sharpzo: standard output is closed, so the answer cannot be printed")
            raise typer.Exit(128 + 13) from None  # as a program that SIGPIPE ends
        except MemoryError:
            say("edge-sharpzo: memory ran out: free some, or take fewer photos")
            raise typer.Exit(2) from None
        except OSError as error:
            say(f"edge-sharpzo: {os_error_text(error)}")
            raise typer.Exit(2) from None
        except (KeyboardInterrupt, Cancelled):
            signals.end()
            say("edge-sharpzo: interrupted")
            raise typer.Exit(INTERRUPTED) from None
