"""The output folder is the old one or the new one, whatever happens, and never somebody else's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datagen.errors import EnvironmentFault, UsageError
from datagen.export.swap import MARK, replacing


def export(target: Path, text: str) -> None:
    with replacing(target) as (staging, scratch):
        (scratch / "spool").write_text("x")
        (staging / "clips").mkdir()
        (staging / "clips" / "data").write_text(text)
        (staging / MARK).write_text("{}")


def content(target: Path) -> str:
    return (target / "clips" / "data").read_text()


def test_a_new_folder_replaces_the_old_one_and_nothing_is_left_beside_it(tmp_path):
    target = tmp_path / "deep" / "out"
    export(target, "one")
    (target / "leftover").write_text("of the old one")
    export(target, "two")
    assert content(target) == "two"
    assert sorted(path.name for path in target.iterdir()) == ["clips", MARK]
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_an_empty_folder_may_be_used(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    export(target, "one")
    assert content(target) == "one"


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_not_ours_is_refused_and_untouched(tmp_path, kind):
    target = tmp_path / "out"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("years of work")
    if kind == "folder":
        elsewhere.rename(target)
    elif kind == "file":
        target.write_text("years of work")
    else:
        target.symlink_to(elsewhere)
    with pytest.raises(UsageError, match="out"):
        export(target, "one")
    found = {"folder": target / "thesis.tex", "file": target, "link": elsewhere / "thesis.tex"}[kind]
    assert found.read_text() == "years of work"


def test_a_failed_export_leaves_the_old_folder(tmp_path):
    target = tmp_path / "out"
    export(target, "one")
    with pytest.raises(ZeroDivisionError), replacing(target) as (staging, _):
        (staging / "half").write_text("x")
        raise ZeroDivisionError
    assert content(target) == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_the_machines_fault(tmp_path):
    with pytest.raises(EnvironmentFault, match="Make room"), replacing(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from datagen.export.swap import replacing, MARK
renames = int(sys.argv[2])
rename = Path.rename
def counted(self, other):
    global renames
    if renames == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    renames -= 1
    return rename(self, other)
Path.rename = counted
with replacing(Path(sys.argv[1])) as (staging, scratch):
    (staging / "clips").mkdir()
    (staging / "clips" / "data").write_text("two")
    (staging / MARK).write_text("{}")
"""


@pytest.mark.faults
@pytest.mark.parametrize(("renames", "left"), [(0, "one"), (1, None)])
def test_killed_at_a_rename_it_leaves_the_old_folder_or_none_and_the_next_export_mends(tmp_path, renames, left):
    target = tmp_path / "out"
    export(target, "one")
    command = [sys.executable, "-c", KILLED, str(target), str(renames)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root)}, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert (content(target) if target.exists() else None) == left
    assert len(list(tmp_path.iterdir())) > 1  # it did leave something lying about
    with pytest.raises(ZeroDivisionError), replacing(target):
        raise ZeroDivisionError  # even an export that fails puts the old folder back
    assert content(target) == "one"
    export(target, "three")
    assert content(target) == "three"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
