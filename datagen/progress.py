"""What a person sees while a run goes on, and what a program reads afterwards (``events.jsonl``)."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from datagen.files import Files, full
from datagen.redact import hidden


@dataclass
class Tally:
    """Counts of one stage while it runs. ``total`` grows as upstream shards arrive."""

    total: int = 0
    done: int = 0
    rejected: int = 0
    dropped: int = 0
    started: float | None = None
    finished: float | None = None

    @property
    def rate(self) -> float:
        """Rows per second since the stage began."""
        if self.started is None or not self.done:
            return 0.0
        return self.done / max((self.finished or time.monotonic()) - self.started, 1e-6)

    @property
    def eta_s(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class View(Protocol):
    def update(self, tallies: dict[str, Tally]) -> None: ...

    def say(self, sentence: str) -> None: ...

    def close(self) -> None: ...


class Silent:
    def update(self, tallies: dict[str, Tally]) -> None: ...

    def say(self, sentence: str) -> None: ...

    def close(self) -> None: ...


class Lines:
    """Plain lines, at most one per stage every few seconds: for logs and pipes."""

    def __init__(self, every_s: float = 5.0, out: Any = None) -> None:
        self._every, self._out = every_s, out
        self._next: dict[str, float] = {}
        self._said: dict[str, tuple] = {}

    def update(self, tallies: dict[str, Tally]) -> None:
        now = time.monotonic()
        for name, tally in tallies.items():
            state = (tally.done, tally.total, tally.finished is not None)
            if not tally.done or self._said.get(name, ())[:2] == state[:2]:
                continue
            if tally.done == tally.total or now >= self._next.get(name, 0):
                self._next[name] = now + self._every
                self._said[name] = state
                self.say(line(name, tally))

    def say(self, sentence: str) -> None:
        print(sentence, file=self._out or sys.stdout, flush=True)

    def close(self) -> None: ...


class Bars:
    """One live bar per stage that has work."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._tasks: dict[str, Any] = {}
        self._progress.start()

    def update(self, tallies: dict[str, Tally]) -> None:
        for name, tally in tallies.items():
            if not tally.total:
                continue
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=tally.total, note="")
            self._progress.update(self._tasks[name], total=tally.total, completed=tally.done, note=note(tally))

    def say(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def note(tally: Tally) -> str:
    parts = [f"{tally.rate:,.1f} rows/s"] if tally.rate else []
    if tally.done < tally.total and tally.eta_s is not None:
        parts.append(f"ETA {duration(tally.eta_s)}")
    if tally.rejected:
        parts.append(f"{tally.rejected} rejected")
    if tally.dropped:
        parts.append(f"{tally.dropped} dropped")
    return "  ".join(parts)


def line(name: str, tally: Tally) -> str:
    share = 100 * tally.done / tally.total if tally.total else 100
    return f"{name:<12} {tally.done:>7,}/{tally.total:<7,} {share:>4.0f} %  {note(tally)}"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


VIEWS = ("auto", "bars", "lines", "none")


def view(kind: str = "auto") -> View:
    """``auto``: bars on a terminal, lines elsewhere; ``none``: silence."""
    if kind == "none":
        return Silent()
    return Bars() if kind == "bars" or (kind == "auto" and sys.stdout.isatty()) else Lines()


class EventLog:
    """Appends one JSON object per line: a unit done, a failure, a retry. Local runs write as they go; remote
    runs, where nothing can be appended to, upload the whole log when it is closed."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lines: list[str] = []
        self._sink: Any = None
        if files.local:
            Path(files.root).mkdir(parents=True, exist_ok=True)
            self._sink = Path(files.path("events.jsonl")).open("a", encoding="utf-8")  # noqa: SIM115 (closed in close)

    def add(self, event: str, **fields: Any) -> None:
        text = hidden(json.dumps({"time": round(time.time(), 3), "event": event, **fields}, ensure_ascii=False))
        if self._sink:
            try:
                self._sink.write(text + "\n")
                self._sink.flush()
            except OSError as error:
                raise full(self._files.url, error) from error
        else:
            self._lines.append(text)

    def close(self) -> None:
        if self._sink:
            self._sink.close()
        elif self._lines:
            old = self._files.read("events.jsonl").decode() if self._files.exists("events.jsonl") else ""
            self._files.write("events.jsonl", (old + "\n".join(self._lines) + "\n").encode())
