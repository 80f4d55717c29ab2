"""A process that ends with the worker that started it, as by Ctrl-C: a run leaves its checkpoint.

`python -m edge_sharpzo.sweeping.child MODULE ARGUMENT...` runs the module as `python -m` does. The
worker holds the other end of standard input: once that is closed, on purpose or by the worker's
death, the process gets SIGTERM.
"""

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1):  # not `sys.stdin`, whose lock would be held at exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    module, *sys.argv[1:] = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
