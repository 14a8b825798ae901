"""Requests a second of one core: one 60-register block from each of 50 TCP devices, against libmodbus's C client."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import profiles
from bench.result import Result
from peers import libmodbus

_DEVICES, _REGISTERS = 50, 60
_CLIENT_CPU, _SERVER_CPU = 0, 1


def run(*, seconds: float, rounds: int, home: Path) -> list[Result]:
    """`rounds` rounds of `seconds` for the gateway's loop, its transport alone, pymodbus's client and the C client."""
    figures: dict[str, list[float]] = {"bus": [], "line": [], "pymodbus": []}
    peers: list[float] = []
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        libmodbus.tcp_server(devices=_DEVICES, registers=profiles.served(), cpu=_SERVER_CPU) as ports,
    ):
        profile = profiles.floats(Path(folder), _REGISTERS)
        for _ in range(rounds):
            peers.append(
                libmodbus.load(ports=ports, seconds=seconds, function=4, address=0, count=_REGISTERS, cpu=_CLIENT_CPU)
            )
            for how, found in figures.items():
                found.append(_rate(how, seconds, profile, ports))
    names = {
        "bus": "modbus: requests of one core, decoded to readings",
        "line": "modbus: requests of one core, transport alone",
        "pymodbus": "modbus: requests of one core, pymodbus's client, nothing decoded",
    }
    return [
        Result(
            name=names[how],
            unit="requests/s",
            figures=found,
            peer="libmodbus, C, a thread for each device",
            peer_figures=peers,
            at_least=0.5 if how == "bus" else None,
        )
        for how, found in figures.items()
    ]


def _rate(how: str, seconds: float, profile: Path, ports: Sequence[int]) -> float:
    command = ["taskset", "-c", str(_CLIENT_CPU), sys.executable, "-m", "bench.client", how, str(seconds)]
    done = subprocess.run(
        [*command, str(profile), *map(str, ports)], capture_output=True, text=True, timeout=seconds + 60, check=True
    )
    requests, took_s = done.stdout.split()
    return int(requests) / float(took_s)
