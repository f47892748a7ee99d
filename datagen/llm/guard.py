"""Starts a server of a language model and ends it, with everything it started, when its owner ends. A script.

    python guard.py COMMAND...

The server is in a session of its own, and this process is its parent. When standard input closes, which happens
however the owner ends, or when the server ends by itself, every process of the session is ended: a model's engine
processes give themselves other names, write over their environment, and hold the GPU for as long as they live. What
leaves the session is still found, as a descendant of this process.

Says on standard output, a line each: ``{"server": PID}`` when it has started, ``{"status": N, "asked": 0 or 1}`` when
all is over (negative: by that signal; asked: standard input had closed). Whoever kills this process kills the server
too (the kernel sees to that); the rest is left to the owner, who sees standard output close and calls ``end``.

Standard library only, and nothing of this package: it has to start in milliseconds and hold next to no memory. Finds
processes through /proc; where there is none, only the server's process group is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

#: prctl(2)
PDEATHSIG, SUBREAPER = 1, 36
#: Seconds between two looks at whether the server is still there.
LOOK_S = 0.05
#: Seconds that a server has after a SIGTERM: it then removes what it shares in memory.
GRACE_S = 5.0
#: So many looks in a row must find nothing: a dying process may have started another.
QUIET_LOOKS = 3
MOST_S = 30.0
#: Cleans up what the others shared, as soon as they are gone, and then ends by itself.
TRACKER = b"multiprocessing.resource_tracker"
TRACKER_S = 2.0


class Process(NamedTuple):
    pid: int
    parent: int
    session: int


def processes() -> list[Process]:
    """All that are alive; a zombie is not."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # it has just ended
            # pid (name, in which anything may stand) state parent group session ...
            state, parent, _, session = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            if state not in "ZX":
                found.append(Process(int(entry.name), int(parent), int(session)))
    return found


def members(session: int, under: int | None = None, among: Iterable[Process] | None = None) -> set[int]:
    """Processes of a session and, of process ``under``, all descendants; never this process."""
    alive = list(processes() if among is None else among)
    found = {process.pid for process in alive if process.session == session}
    new = found | ({under} if under is not None else set())
    while new:
        new = {process.pid for process in alive if process.parent in new} - found
        found |= new
    return found - {os.getpid(), under}


def end(session: int, under: int | None = None, *, grace_s: float = GRACE_S, most_s: float = MOST_S) -> None:
    """End all of them, and return when they are gone: SIGTERM to the session's first process, then SIGKILL to all."""
    start = time.monotonic()
    if grace_s > 0 and session in members(session, under):
        _kill(session, signal.SIGTERM)
        _kill(session, signal.SIGCONT)  # one that is stopped would not hear it
        while session in members(session, under) and time.monotonic() < start + grace_s:
            time.sleep(0.01)
    if not Path("/proc").is_dir():
        with contextlib.suppress(OSError):
            os.killpg(session, signal.SIGKILL)
        return
    quiet, patient = 0, time.monotonic() + min(TRACKER_S, grace_s)
    while quiet < QUIET_LOOKS and time.monotonic() < start + most_s:
        left = members(session, under)
        for pid in left:
            if time.monotonic() > patient or not _is_tracker(pid):
                _kill(pid, signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        time.sleep(0.01)


def _is_tracker(pid: int) -> bool:
    try:
        return TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):  # gone already
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: list[str]) -> int:
    """The server's process id, which is its session's too."""
    guard = os.getpid()
    ready, go = os.pipe()
    if pid := os.fork():
        os.close(go)
        os.read(ready, 1)  # closed when the session is made, so that it can be ended from now on
        os.close(ready)
        return pid
    try:
        os.setsid()
        os.close(go)
        os.close(ready)
        _prctl(PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it was killed before the kernel knew
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)  # the log
        os.execvp(command[0], command)
    except BaseException as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(127)


def _say(**what: int) -> None:
    with contextlib.suppress(OSError):  # the owner is gone
        os.write(1, json.dumps(what).encode() + b"\n")


def main(command: list[str]) -> None:
    for sent_to_all in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(sent_to_all, signal.SIG_IGN)
    if os.fork():  # a child of the owner might be killed along with it
        os._exit(0)
    os.setsid()
    _prctl(SUBREAPER, 1)
    server = _start(command)
    _say(server=server)
    while (ended := os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is None:
        asked, _, _ = select.select([0], [], [], LOOK_S)
        if asked and not os.read(0, 4096):
            break
    end(server, os.getpid())  # its number is not given away before it is waited for
    _, code = os.waitpid(server, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # orphans of the server, which the kernel has given to this process
            pass
    _say(status=os.waitstatus_to_exitcode(code), asked=int(ended is None))


if __name__ == "__main__":
    main(sys.argv[1:])
