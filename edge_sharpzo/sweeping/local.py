"""Workers on this machine: Dask's `LocalCluster`, in a process of its own.

`python -m edge_sharpzo.sweeping.local WORKERS FOLDER` prints the scheduler's address and goes on
until its standard input ends. So a signal to the terminal's processes does not meet the workers,
and a program that starts them needs no `if __name__ == "__main__"`.
"""

import logging
import os
import sys


def main() -> None:
    """Runs the workers; `FOLDER` is for what Dask writes."""
    import dask
    from distributed import LocalCluster

    workers, folder = sys.argv[1:]
    # The processes that workers start see this machine as any other process does.
    # Dask's profiler would look at the workers a hundred times a second, and they only wait.
    own = {
        "distributed.nanny.pre-spawn-environ": {},
        "distributed.worker.profile.enabled": False,
        "temporary-directory": folder,
    }
    dask.config.set(own)
    cluster = LocalCluster(
        n_workers=int(workers),
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # what is large are the processes that the workers start
        host="127.0.0.1",
        dashboard_address=None,
        local_directory=folder,
        silence_logs=logging.CRITICAL,
    )
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # and the workers with it, at once: no run is to go on that nobody waits for


if __name__ == "__main__":
    main()
