"""Ends what an embedded Ray leaves behind when its driver ends, in whatever way. A script, started by path.

The kernel ends Ray's main processes with a killed driver, but their children first try for a minute to report the
death to a server that is gone. This process waits until its standard input closes, which happens when the driver
ends, then kills every process that carries the session's folder in its environment or holds a file in it open, and
removes the folder.

    python reaper.py FOLDER

Standard library only, and nothing of this package: it has to start in milliseconds and hold next to no memory.
Finds processes through /proc; where there is none, only the folder goes.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

#: In the environment of the session's processes; its value is the folder.
MARK = "DATAGEN_RAY_FOLDER"
#: So many looks in a row must find nothing: a dying process may have started another.
QUIET_LOOKS = 3
MOST_SECONDS = 30.0


def kill_all(folder: str) -> int:
    """SIGKILL to every process of the session; how many there were."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and belongs(process, folder):
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
        except OSError:  # gone, or somebody else's
            continue
    return killed


def belongs(process: Path, folder: str) -> bool:
    """Whether a process (its folder in /proc) is of the session: by its environment or by a file it holds open.

    The environment alone does not do: Ray's agents and workers set a long process title, ``ray::...``, which is
    written over the place where the kernel looks for it. They keep logs in the session's folder open. So does the
    driver, and perhaps somebody who reads the logs: only processes with such a title are judged by their files.
    """
    if f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
        return True
    if not (process / "cmdline").read_bytes().startswith(b"ray::"):
        return False
    return any(str(link.readlink()).startswith(f"{folder}/") for link in (process / "fd").iterdir())


def main(folder: str) -> None:
    for sent_to_all in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent_to_all, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end = time.monotonic() + MOST_SECONDS
    quiet = 0
    while quiet < QUIET_LOOKS and time.monotonic() < end:
        quiet = 0 if kill_all(folder) else quiet + 1
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
