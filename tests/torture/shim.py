"""The library that is preloaded into one process, and the file through which it is told what to do.

It steps the process's clock, kills it at the n-th call of a kind, makes calls on the files of one folder fail, and
notes what is not synced yet, so that `power_cut` can undo it after the process is dead.
"""

import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import time
from enum import IntFlag
from functools import cache
from pathlib import Path

from local.servers import segs_home

_SOURCE = Path(__file__).with_name("shim.c")
_MAGIC = 0x314D494853474553
_SIZE = 4096
# Where in the file each number is; the layout of `struct control` in shim.c.
_CLOCK_OFFSET, _COUNTDOWN = (8, "q"), (16, "q")
_COUNTED, _AFTER, _PORT, _FAILING = (24, "I"), (28, "I"), (32, "I"), (36, "I")
_ERROR, _UNTRACKED, _KILLED, _SEQUENCE = (40, "i"), (44, "I"), (48, "q"), (56, "Q")
_SEEN = (64, "8Q")
_BOOTTIME_OFFSET, _SYNCHRONIZED, _BOOT_ID = (128, "q"), (136, "I"), (140, "64s")


class ShimUnavailable(Exception):
    """The library cannot be built on this machine; the message says why."""


class Call(IntFlag):
    """Kinds of calls: on files of the folder but for SEND and RECEIVE, which are on TCP connections."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    NAME = 8
    OPEN = 16
    READ = 32
    SEND = 64
    RECEIVE = 128


CHANGES = Call.WRITE | Call.SYNC | Call.TRUNCATE | Call.NAME | Call.OPEN


@cache
def library() -> Path:
    """The library, built when first asked for. Raises ShimUnavailable."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ShimUnavailable("no C compiler (cc) on this machine")
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    built = segs_home() / "cache" / f"torture-shim-{digest}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        fresh = built.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-pthread", "-o", str(fresh), str(_SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ShimUnavailable(f"{_SOURCE.name} cannot be built: {done.stderr.strip()[-500:]}")
        fresh.replace(built)
    return built


class Shim:
    """What is told to one process, now and after each of its restarts.

    `folder` is the one whose files are meant. With `log` what is not synced of it is noted there, and what was unlinked
    is kept in `graveyard`, beside the folder.
    """

    def __init__(self, *, control: Path, folder: Path | None = None, log: Path | None = None) -> None:
        self._library = library()
        self._control = control
        self.folder = folder.resolve() if folder else None
        self.log = log
        self.graveyard: Path | None = None
        if self.folder and log:
            self.graveyard = self.folder.with_name(f"{self.folder.name}.graveyard")
            self.graveyard.mkdir(parents=True, exist_ok=True)
        control.parent.mkdir(parents=True, exist_ok=True)
        control.write_bytes(struct.pack("<Q", _MAGIC).ljust(_SIZE, b"\0"))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    @property
    def environment(self) -> dict[str, str]:
        """What the process is started with."""
        told = {"LD_PRELOAD": str(self._library), "SEGS_SHIM_CONTROL": str(self._control)}
        if self.folder:
            told["SEGS_SHIM_FOLDER"] = str(self.folder)
        if self.log and self.graveyard:
            told |= {"SEGS_SHIM_LOG": str(self.log), "SEGS_SHIM_GRAVEYARD": str(self.graveyard)}
        return told

    def step_clock(self, offset_s: float) -> None:
        """The process's time of day is `offset_s` ahead of this machine's from now on."""
        self._set(_CLOCK_OFFSET, round(offset_s * 1e9))

    def synchronize(self, synchronized: bool | None) -> None:
        """What the kernel says from now on of a time service that disciplines the clock; None for its own word."""
        self._set(_SYNCHRONIZED, 0 if synchronized is None else 1 if synchronized else 2)

    def boot(self, name: str, uptime_s: float) -> None:
        """The process, which does not run, starts next on a machine that has booted anew, `uptime_s` ago by then."""
        self._set(_BOOTTIME_OFFSET, round(uptime_s * 1e9) - time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        struct.pack_into(_BOOT_ID[1], self._map, _BOOT_ID[0], name.encode())

    def kill_at(self, calls: Call, count: int, *, after: bool = False, port: int = 0) -> None:
        """kill -9 before or after the `count`-th of `calls` from now; of sockets, only those with `port` at an end."""
        self.disarm()
        self._set(_COUNTED, int(calls))
        self._set(_AFTER, int(after))
        self._set(_PORT, port)
        self._set(_COUNTDOWN, count)

    @property
    def armed(self) -> bool:
        """Whether the call that kills is still to come."""
        return self._get(_COUNTDOWN) > 0

    def disarm(self) -> None:
        self._set(_COUNTDOWN, 0)

    @property
    def killed_us(self) -> int:
        """When it was killed at a call the last time, microseconds since 1970; 0 if never."""
        return self._get(_KILLED) // 1000

    def fail(self, calls: Call, error: int) -> None:
        """Every one of `calls` on the folder's files fails with errno `error` from now on."""
        self._set(_ERROR, error)
        self._set(_FAILING, int(calls))

    def heal(self) -> None:
        """Nothing fails any more, and the time of day is right."""
        self._set(_FAILING, 0)
        self._set(_CLOCK_OFFSET, 0)
        self.synchronize(True)
        self.disarm()

    @property
    def untracked(self) -> bool:
        """Whether a file was changed in a way that cannot be undone: then there is no power cut to be had."""
        return bool(self._get(_UNTRACKED))

    def seen(self, call: Call) -> int:
        """How many of the calls there were so far."""
        return int(struct.unpack_from(f"<{_SEEN[1]}", self._map, _SEEN[0])[int(call).bit_length() - 1])

    def await_call(self, call: Call, *, timeout_s: float) -> bool:
        """Wait for the next such call; whether there was one."""
        before, deadline_s = self.seen(call), time.monotonic() + timeout_s
        while self.seen(call) == before:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.005)
        return True

    def close(self) -> None:
        self._map.close()

    def _get(self, field: tuple[int, str]) -> int:
        return int(struct.unpack_from(f"<{field[1]}", self._map, field[0])[0])

    def _set(self, field: tuple[int, str], value: int) -> None:
        struct.pack_into(f"<{field[1]}", self._map, field[0], value)
