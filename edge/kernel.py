"""What the kernel says of this boot: its name, whether the clock is synchronized, and what the process has written."""

import struct
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

_STA_UNSYNC = 0x0040
# The head of struct timex, see adjtimex(2): modes, offset, freq, maxerror, esterror, status. No libc's is larger.
_TIMEX_HEAD, _TIMEX_BYTES = struct.Struct("@I4li"), 512
_PROC = Path("/proc")


def synchronized() -> bool:
    """Whether a time service disciplines the clock by a source that it trusts; False where the kernel does not say.

    With `modes` 0 nothing is set, and no right is needed.
    """
    adjtimex = _adjtimex()
    if adjtimex is None:
        return False
    timex = bytearray(_TIMEX_BYTES)
    if adjtimex(timex) < 0:
        return False
    *_, status = _TIMEX_HEAD.unpack_from(timex)
    return not status & _STA_UNSYNC


def boot_id(proc: Path = _PROC) -> str:
    """The name of this boot. Where the kernel gives none, one of this process's own: then each start is a boot."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return str(uuid.uuid4())


def written_bytes(proc: Path = _PROC) -> int | None:
    """Bytes that this process has sent to disks so far; None where the kernel does not say."""
    try:
        for line in (proc / "self/io").read_text("ascii").splitlines():
            name, _, value = line.partition(": ")
            if name == "write_bytes":
                return int(value)
    except (OSError, ValueError):
        pass
    return None


@cache
def _adjtimex() -> Callable[[bytearray], int] | None:
    """adjtimex(2) on memory of ours, or None."""
    try:
        # Where nothing may be both written and run, it may not even be there.
        import ctypes

        call = ctypes.CDLL(None).adjtimex
    except (ImportError, MemoryError, OSError, AttributeError):
        return None
    memory = ctypes.c_char * _TIMEX_BYTES
    return lambda timex: int(call(memory.from_buffer(timex)))
