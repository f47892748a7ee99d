"""Nobody pays for a call twice, whatever was killed and whoever writes beside."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from datagen.errors import EnvironmentFault
from datagen.files import Files
from datagen.llm.answers import Answer, Reply
from datagen.llm.client import complete
from datagen.llm.index import HEAD
from datagen.llm.journal import Journal
from datagen.testing.llm_server import Server, ServerProcess, fingerprint
from tests.llm.asking import endpoint, request


def key(number: int) -> str:
    return request(number).key


def reply(text: str = "a", tokens: int = 3) -> Reply:
    return Reply(content=text, finish="stop", completion_tokens=tokens, latency_s=0.25, tries=2)


def here(tmp_path: Path) -> Journal:
    return Journal(Files(str(tmp_path)), "llm/calls")


def test_what_was_added_is_found_now_and_later(tmp_path: Path) -> None:
    said = {key(number): reply(f"naïve “{number}”\n你好 </s>") for number in range(50)}
    with here(tmp_path) as journal:
        for name, each in said.items():
            assert journal.get(name) is None
            journal.add(name, each)
            assert journal.get(name) == each
        assert len(journal) == 50
    again = pickle.loads(pickle.dumps(here(tmp_path)))  # noqa: S301 (our own object)
    assert {name: again.get(name) for name in said} == said and len(again) == 50
    assert again.get(key(99)) is None


def test_a_torn_tail_costs_one_record(tmp_path: Path) -> None:
    with here(tmp_path) as journal:
        for number in range(3):
            journal.add(key(number), reply(str(number)))
    (segment,) = (tmp_path / "llm/calls").iterdir()
    whole = segment.read_bytes()
    last = whole.rfind(b"\n", 0, -1) + 1
    for cut in (last + 1, last + 20, last + 60, len(whole) - 1):
        segment.write_bytes(whole[:cut])
        found = here(tmp_path)
        assert [each and each.content for each in map(found.get, map(key, range(3)))] == ["0", "1", None], cut
        assert len(found) == 2
    segment.write_bytes(whole[:last] + b"\0" * 200 + b"\n" + whole[last:])  # a page that never reached the disk
    assert [each and each.content for each in map(here(tmp_path).get, map(key, range(3)))] == ["0", "1", "2"]


@pytest.mark.parametrize("spoilt", [b'"nonsense"', b'{"content":5}', b"{", b"[]", b'{"tries":"2"}'])
def test_a_spoilt_record_is_as_if_it_were_not_there(spoilt: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "llm/calls"
    folder.mkdir(parents=True)
    line = HEAD + key(1).encode() + b'","reply":' + spoilt + b"}\n"
    (folder / "0-1-a.jsonl").write_bytes(line)
    assert here(tmp_path).get(key(1)) is None
    (folder / "0-1-b.jsonl").write_bytes(HEAD + key(1).encode() + b'","reply":{"content":"good"}}\n')
    found = here(tmp_path).get(key(1))
    assert found is not None and found.content == "good"


def test_of_two_writers_the_first_segment_counts_whoever_reads(tmp_path: Path) -> None:
    one, two = here(tmp_path), here(tmp_path)
    one.add(key(0), reply("first"))
    time.sleep(0.002)  # names begin with milliseconds
    two.add(key(0), reply("second"))
    two.add(key(1), reply("of two"))
    one.add(key(2), reply("of one"))
    for journal in (one, two):
        journal.close()
    for journal in (here(tmp_path), one, two):
        assert [each and each.content for each in map(journal.get, map(key, range(3)))] == ["first", "of two", "of one"]
        assert len(journal) == 3
    assert len(list((tmp_path / "llm/calls").iterdir())) == 2


def test_others_are_seen_after_a_second_look(tmp_path: Path) -> None:
    one, two = here(tmp_path), here(tmp_path)
    assert one.get(key(0)) is None
    two.add(key(0), reply())
    assert one.get(key(0)) is None
    one.refresh()
    assert one.get(key(0)) == reply()


def test_remote_segments_are_whole_and_compressed() -> None:
    files = Files(f"memory://journal-{uuid.uuid4().hex}")
    one, two = Journal(files, "calls"), Journal(files, "calls")
    for number in range(200):
        (one if number % 2 else two).add(key(number), reply(f"{number} " + "the voice rises " * 40))
        assert (one if number % 2 else two).get(key(number)) is not None
    one.close(), two.close()
    names = files.names("calls")
    assert len(names) >= 2 and all(name.endswith(".jsonl.zst") for name in names)
    assert sum(files.size(f"calls/{name}") for name in names) < 200 * 640 / 3
    found = Journal(files, "calls")
    assert [(found.get(key(n)) or reply()).content.split()[0] for n in range(200)] == [str(n) for n in range(200)]
    files.write(f"calls/{names[0]}", files.read(f"calls/{names[0]}")[:40])
    damaged = Journal(files, "calls")
    assert sum(damaged.get(key(number)) is not None for number in range(200)) == 100


def test_a_store_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(f"memory://journal-{uuid.uuid4().hex}")
    monkeypatch.setattr(Files, "write", lambda *_: (_ for _ in ()).throw(ConnectionError("the store is gone")))
    journal = Journal(files, "calls")
    journal.add(key(0), reply())
    with pytest.raises(ConnectionError):
        journal.close()


def test_a_full_disk_is_nobodys_row_and_loses_nothing_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = here(tmp_path)
    journal.add(key(0), reply("kept"))
    assert journal._sink is not None

    class Full:
        def __init__(self, sink: object) -> None:
            self.sink = sink

        def write(self, line: bytes) -> int:
            return int(self.sink.write(line[:10]))  # type: ignore[attr-defined]

        def close(self) -> None:
            self.sink.close()  # type: ignore[attr-defined]

    monkeypatch.setattr(journal, "_sink", Full(journal._sink))
    with pytest.raises(EnvironmentFault, match="Make room"):
        journal.add(key(1), reply("lost"))
    monkeypatch.undo()
    journal._sink = None
    time.sleep(0.002)
    journal.add(key(2), reply("there is room again"))
    journal.close()
    assert [bool(here(tmp_path).get(key(number))) for number in range(3)] == [True, False, True]


WORKER = """
import sys
from datagen.files import Files
from datagen.llm.client import complete
from datagen.llm.journal import Journal
from tests.llm.asking import endpoint, request

url, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Journal(Files(folder), "calls") as journal:
    for done, (asked, outcome) in enumerate(complete(endpoint(url), map(request, range(count)), journal)):
        print(done, flush=True)
"""


@pytest.mark.faults
def test_a_killed_process_repeats_none_of_its_finished_calls(tmp_path: Path) -> None:
    count = 150
    with ServerProcess(latency_s=0.05) as server:
        command = [sys.executable, "-c", WORKER, server.url, str(tmp_path), str(count)]
        root = Path(__file__).parent.parent.parent
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
        assert process.stdout is not None
        for _ in range(40):  # as many as it has handed over are finished
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        journal = Journal(Files(str(tmp_path)), "calls")
        finished = [number for number in range(count) if journal.get(key(number))]
        assert 40 <= len(finished) < count
        outcomes = list(complete(endpoint(server.url), map(request, range(count)), journal))
        calls = server.counts()["calls"]
    assert len(outcomes) == count and all(isinstance(outcome, Answer) for _, outcome in outcomes)
    assert {asked.key for asked, outcome in outcomes if outcome.replayed} == {key(number) for number in finished}
    assert {calls[fingerprint(request(number).payload())] for number in finished} == {1}
    assert all(1 <= calls[fingerprint(request(number).payload())] <= 2 for number in range(count))


def test_a_bad_answer_is_kept_under_its_attempt_only(tmp_path: Path) -> None:
    """It is not asked for again, and not in the way of the next attempt."""
    with Server(answering=lambda body: "no JSON") as server, here(tmp_path) as journal:
        at = endpoint(server.url)
        for _ in range(2):
            ((_, outcome),) = complete(at, [request(0)], journal)
            assert outcome.worth_another_attempt  # type: ignore[union-attr]
        assert outcome.replayed and server.counts().requests == 1
        server.change(answering=None)
        ((_, outcome),) = complete(at, [request(0, attempt=1)], journal)
        assert isinstance(outcome, Answer) and server.counts().requests == 2
