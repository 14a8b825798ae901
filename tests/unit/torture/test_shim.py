"""The library under the torture, on programs that are known to be right, and on some that are known to be wrong."""

import errno
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.torture import power_cut
from tests.torture.power_cut import MODES, Mode
from tests.torture.shim import CHANGES, Call, Shim, ShimUnavailable, library

_COMMITTER = Path(__file__).with_name("committer.py")
_CALLS = [Call.WRITE, Call.SYNC, Call.TRUNCATE, Call.OPEN]


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    try:
        library()
    except ShimUnavailable as reason:
        pytest.skip(str(reason))
    folder = tmp_path / "data"
    folder.mkdir()
    shim = Shim(control=tmp_path / "control", folder=folder, log=tmp_path / "undo")
    yield shim
    shim.close()


@contextmanager
def _program(shim: Shim, *command: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, *command], env=os.environ | shim.environment, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _python(shim: Shim, code: str) -> str:
    with _program(shim, "-c", code) as process:
        return process.communicate(timeout=30)[0].strip()


def _acknowledged(shim: Shim, synchronous: str, *, commits: int) -> int:
    """The last commit that the program acknowledged before its kill, which comes after `commits` of them."""
    assert shim.folder is not None
    last = 0
    with _program(shim, str(_COMMITTER), str(shim.folder / "kept.sqlite"), synchronous) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = int(line)
            if last >= commits:
                process.kill()
                break
        rest = process.stdout.read().split()
    return int(rest[-1]) if rest else last


def _kept(shim: Shim) -> set[int]:
    assert shim.folder is not None
    file = shim.folder / "kept.sqlite"
    if not file.exists():
        return set()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return set()
        return {number for (number,) in db.execute("SELECT number FROM kept")}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_takes_no_acknowledged_commit_that_was_synced(shim: Shim, mode: Mode, seed: int) -> None:
    """E19, turned round: synchronous=FULL keeps every acknowledged commit, cut after cut."""
    chance = random.Random(seed)
    for round_ in range(1, 4):
        acknowledged = _acknowledged(shim, "FULL", commits=round_ * 100 + chance.randint(0, 40))
        power_cut.cut(shim, mode=mode, chance=chance)
        kept = _kept(shim)
        assert kept >= set(range(1, acknowledged + 1))
        assert max(kept) <= acknowledged + 1


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_a_power_cut_takes_acknowledged_commits_of_a_program_that_does_not_sync(shim: Shim, synchronous: str) -> None:
    """E19: with WAL and NORMAL, or OFF, the last commits are gone, which shows that the cut cuts."""
    acknowledged = _acknowledged(shim, synchronous, commits=103)

    outcome = power_cut.cut(shim, mode="all", chance=random.Random(1))

    assert outcome.undone > 0
    assert acknowledged not in _kept(shim)


@pytest.mark.parametrize("call", _CALLS, ids=lambda call: call.name)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_call_of_a_commit_loses_no_acknowledged_one(shim: Shim, call: Call, after: bool) -> None:
    """E19: killed there and then cut, at the first, the third and a later such call."""
    acknowledged = 0
    for count in (1, 3, 11):
        shim.kill_at(call, count, after=after)
        acknowledged = max(acknowledged, _acknowledged(shim, "FULL", commits=acknowledged + 150))
        power_cut.cut(shim, mode="torn", chance=random.Random(count))
        assert _kept(shim) >= set(range(1, acknowledged + 1))


def test_a_kill_at_a_call_kills_at_that_call(shim: Shim) -> None:
    assert shim.folder is not None
    file = shim.folder / "file"
    code = f"import os; f = os.open({str(file)!r}, os.O_CREAT | os.O_WRONLY); [os.write(f, b'x') for _ in range(9)]"
    for after, size in ((False, 3), (True, 4)):
        file.unlink(missing_ok=True)
        shim.kill_at(Call.WRITE, 4, after=after)
        with _program(shim, "-c", code) as process:
            assert process.wait(30) == -signal.SIGKILL
        assert file.stat().st_size == size
        assert not shim.armed
        assert abs(shim.killed_us / 1e6 - time.time()) < 30


def test_a_kill_at_a_call_on_a_connection_minds_its_port(shim: Shim) -> None:
    """Two connections; the bytes on the one that is meant are not sent, those before on the other are."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [server.getsockname()[1] for server in (one, other)]
        code = (
            f"import socket; a, b = (socket.create_connection(('127.0.0.1', p)) for p in {ports})\n"
            "for _ in range(3): a.sendall(b'a'); b.sendall(b'b')"
        )
        shim.kill_at(Call.SEND, 2, port=ports[1])
        with _program(shim, "-c", code) as process:
            heard = [server.accept()[0] for server in (one, other)]
            assert process.wait(30) == -signal.SIGKILL
        assert [connection.recv(100) for connection in heard] == [b"aa", b"b"]
        for connection in heard:
            connection.close()


def test_the_clock_steps_and_the_monotonic_one_does_not(shim: Shim) -> None:
    code = (
        "import time, datetime\n"
        "print(time.time_ns() // 10**9, int(datetime.datetime.now().timestamp()), time.monotonic())"
    )
    shim.step_clock(-3600)
    wall, moment, monotonic = _python(shim, code).split()
    assert abs(int(wall) - (time.time() - 3600)) < 30
    assert abs(int(moment) - int(wall)) <= 1
    assert abs(float(monotonic) - time.monotonic()) < 30


def test_another_boot_has_another_name_and_another_uptime_and_the_kernels_word_on_the_clock(shim: Shim) -> None:
    code = """
import time
from edge import kernel
print(kernel.boot_id(), int(time.clock_gettime(time.CLOCK_BOOTTIME)), kernel.synchronized())
"""
    shim.boot("a-boot", 42.0)
    for word in (True, False):
        shim.synchronize(word)
        name, uptime_s, synchronized = _python(shim, code).split()
        assert (name, synchronized) == ("a-boot", str(word))
        assert 42 <= int(uptime_s) < 72


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_calls_on_the_folder_fail_as_told_and_no_others(shim: Shim, tmp_path: Path, error: int) -> None:
    assert shim.folder is not None
    code = (
        "import sys\n"
        f"open({str(tmp_path / 'elsewhere')!r}, 'w').write('x')\n"
        f"try: open({str(shim.folder / 'file')!r}, 'w').write('x')\n"
        "except OSError as error: print(error.errno)"
    )
    shim.fail(CHANGES, error)
    assert _python(shim, code) == str(error)
    shim.heal()
    assert _python(shim, code) == ""
    assert (shim.folder / "file").read_text() == "x"


def test_names_and_lengths_that_are_not_synced_come_back(shim: Shim) -> None:
    """Created, replaced, unlinked, cut off: undone in the reverse order."""
    assert shim.folder is not None
    for name in ("replaced", "unlinked", "cut", "synced"):
        (shim.folder / name).write_text(f"{name} before")
    code = f"""
import os
os.chdir({str(shim.folder)!r})
open("fresh", "w").write("new")
os.replace("fresh", "replaced")
os.unlink("unlinked")
open("cut", "r+").truncate(3)
open("other", "w").write("created")
with open("synced", "w") as file:
    file.write("synced after"); file.flush(); os.fsync(file.fileno())
"""
    _python(shim, code)

    power_cut.cut(shim, mode="all", chance=random.Random(1))

    found = {path.name: path.read_text() for path in shim.folder.iterdir()}
    before = {name: f"{name} before" for name in ("replaced", "unlinked", "cut")}
    assert found == {**before, "synced": "synced after"}


def test_what_was_synced_in_an_earlier_life_of_the_program_stays(shim: Shim) -> None:
    assert shim.folder is not None
    file = str(shim.folder / "file")
    write = "import os; f = os.open({!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND); os.write(f, {!r}); {}"
    _python(shim, write.format(file, b"one", "os.fsync(f)"))
    power_cut.compact(shim)
    _python(shim, write.format(file, b"two", ""))
    power_cut.compact(shim)

    power_cut.cut(shim, mode="all", chance=random.Random(1))

    assert Path(file).read_bytes() == b"one"


def test_threads_may_write_and_sync_at_once(shim: Shim) -> None:
    """What is undone leaves each file as its own last sync left it."""
    assert shim.folder is not None
    code = f"""
import os, threading
def work(name):
    f = os.open(os.path.join({str(shim.folder)!r}, name), os.O_CREAT | os.O_RDWR)
    for n in range(200):
        os.pwrite(f, b"%08d" % n, 8 * (n % 50))
        if n % 10 == 9: os.fdatasync(f)
    os.pwrite(f, b"unsynced", 0)
threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
"""
    _python(shim, code)

    power_cut.cut(shim, mode="all", chance=random.Random(1))

    expected = b"".join(b"%08d" % n for n in range(150, 200))
    assert [path.read_bytes() for path in sorted(shim.folder.iterdir())] == [expected] * 4


def test_a_file_changed_behind_the_logs_back_is_noticed(shim: Shim) -> None:
    assert shim.folder is not None
    code = f"""
import mmap
with open({str(shim.folder / "mapped")!r}, "w+b") as file:
    file.truncate(4096)
    mmap.mmap(file.fileno(), 4096)[0] = 1
"""
    assert not shim.untracked
    _python(shim, code)
    assert shim.untracked


def test_a_program_that_waits_is_seen_making_its_calls(shim: Shim) -> None:
    assert shim.folder is not None
    code = f"import time\nwhile True: open({str(shim.folder / 'file')!r}, 'w').write('x'); time.sleep(0.01)"
    with _program(shim, "-c", code):
        assert shim.await_call(Call.WRITE, timeout_s=30)
