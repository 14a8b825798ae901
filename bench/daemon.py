"""A process under measurement: what it has used of the machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEY = "bench-key"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it started, and holds now."""

    cpu_s: float
    written_bytes: int
    resident_bytes: int

    @classmethod
    def of_this(cls) -> "Usage":
        """Of the process that asks."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Usage":
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return cls(
            (int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
            _number(Path(f"/proc/{pid}/io"), "write_bytes"),
            _number(Path(f"/proc/{pid}/status"), "VmRSS") * 1024,
        )


def _number(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


@contextmanager
def gateway(folder: Path, config: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """`segs-edge run` with the meters of `config`, sending to `url`. Raises RuntimeError if it does not end cleanly."""
    (folder / "key").touch(mode=0o600)
    (folder / "key").write_text(KEY)
    head = f"""
[gateway]
name = "bench"
data_dir = "{folder / "data"}"
[uplink]
url = "{url}"
key_file = "{folder / "key"}"
[metrics]
port = 0
[log]
level = "warning"
"""
    (folder / "gateway.toml").write_text(head + config)
    command = [str(Path(sys.executable).with_name("segs-edge")), "run", "--config", str(folder / "gateway.toml")]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        status = process.wait(30)
    if status:
        raise RuntimeError(f"segs-edge ended with {status}")
