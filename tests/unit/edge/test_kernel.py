"""What the kernel says, and what is said where it says nothing."""

import subprocess
import sys
from pathlib import Path

from edge import kernel
from edge.clock import Clock


def test_the_kernels_word_on_the_clock_is_that_of_the_system_call() -> None:
    """Asked by another way: the structure of a 64-bit libc."""
    script = (
        "import ctypes, struct; t = ctypes.create_string_buffer(512); ctypes.CDLL(None).adjtimex(t);"
        "print(not int.from_bytes(t[40:44], sys.byteorder) & 64)"
    )
    said = subprocess.run([sys.executable, "-c", f"import sys; {script}"], capture_output=True, text=True, check=True)
    assert str(kernel.synchronized()) == said.stdout.strip()


def test_the_boot_has_the_name_that_the_kernel_gives_it(tmp_path: Path) -> None:
    assert kernel.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert kernel.boot_id(tmp_path) != kernel.boot_id(tmp_path)


def test_written_bytes_are_those_of_the_process(tmp_path: Path) -> None:
    assert kernel.written_bytes(tmp_path) is None
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "io").write_text("rchar: 9\nread_bytes: 7\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n")
    assert kernel.written_bytes(tmp_path) == 4096


def test_the_boottime_goes_on() -> None:
    clock = Clock()
    first_us = clock.boottime_us()
    assert 0 < first_us <= clock.boottime_us()
