"""A server and a client on libmodbus, the C library: built from the two files here when first asked for."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from peers import debian
from peers.errors import PeerUnavailable

Registers = Mapping[tuple[int, int], int]
"""What a server holds, by table (0 coils, 1 discrete inputs, 3 input registers, 4 holding registers) and address."""

_SOURCES = Path(__file__).parent


@cache
def program(name: str) -> tuple[str, ...]:
    """The command of "server" or "client". Raises PeerUnavailable without libmodbus or a C compiler."""
    tree = debian.fetched()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise PeerUnavailable("no C compiler (cc), so nothing can be built on libmodbus")
    source = _SOURCES / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    built = tree.root / f"{name}-{digest}"
    if not built.exists():
        _compile(compiler, source, built, tree)
    return tuple(tree.command(built))


def _compile(compiler: str, source: Path, built: Path, tree: debian.Tree) -> None:
    fresh = built.with_suffix(f".{os.getpid()}")
    command: list[str | Path] = [compiler, "-O2", "-Wall", "-Werror", "-pthread", source]
    command += ["-I", tree.root / "usr/include/modbus"]
    # The library may ask for a newer C library than this machine's; its own is beside it when it runs.
    command += ["-L", tree.libraries, "-Wl,--allow-shlib-undefined", "-lmodbus", "-o", fresh]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerUnavailable(f"{source.name} cannot be built: {done.stderr.strip()[-500:]}")
    fresh.rename(built)


@contextmanager
def tcp_server(*, devices: int = 1, registers: Registers, cpu: int | None = None) -> Iterator[list[int]]:
    """A server of `devices` endpoints of 127.0.0.1 that answer every unit, on core `cpu` if given; their ports."""
    with _server(["tcp", str(devices)], registers, cpu) as ports:
        yield ports


@contextmanager
def rtu_server(
    *, path: Path, unit: int, registers: Registers, baud_rate: int = 9600, parity: str = "N"
) -> Iterator[None]:
    """A server on the line at `path`. `parity` is N, E or O."""
    with _server(["rtu", str(path), str(baud_rate), parity, str(unit)], registers, None):
        yield


@contextmanager
def _server(arguments: Sequence[str], registers: Registers, cpu: int | None) -> Iterator[list[int]]:
    process = subprocess.Popen(
        [*_pinned(cpu), *program("server"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            process.stdin.write("".join(f"{table} {at} {value}\n" for (table, at), value in registers.items()))
            process.stdin.close()
            ready, *ports = process.stdout.readline().split() or [""]
            if ready != "ready":
                raise RuntimeError(f"the libmodbus server ended with {process.wait()}")
            yield [int(port) for port in ports]
        finally:
            process.kill()


def read(*arguments: str | int | Path) -> list[int]:
    """What the client prints for `arguments`, those of client.c. Raises RuntimeError with its words."""
    command = [*program("client"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return [int(line) for line in done.stdout.split()]


def load(*, ports: Sequence[int], seconds: float, function: int, address: int, count: int, cpu: int) -> list[str]:
    """What a client with a thread for each port, all on core `cpu`, prints: replies, seconds, seconds of CPU."""
    command = [*_pinned(cpu), *program("client"), "load", *map(str, (seconds, function, address, count, *ports))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    return done.stdout.split()


def _pinned(cpu: int | None) -> list[str]:
    return [] if cpu is None else ["taskset", "-c", str(cpu)]
