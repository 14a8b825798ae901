"""Requests of one core: one 60-register block from each of 50 TCP devices, against libmodbus's C client.

By the clock, as long as the server on the other core keeps up with the C client; and by the client's own CPU, which no
server and no neighbour bounds.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import profiles
from bench.result import Result
from peers import libmodbus

_DEVICES, _REGISTERS = 50, 60
_CLIENT_CPU, _SERVER_CPU = 0, 1


def run(*, seconds: float, rounds: int, home: Path) -> list[Result]:
    """`rounds` rounds of `seconds` for the gateway's loop, its transport alone, pymodbus's client and the C client."""
    figures: dict[str, list[_Round]] = {"bus": [], "line": [], "pymodbus": []}
    peers: list[_Round] = []
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        libmodbus.tcp_server(devices=_DEVICES, registers=profiles.served(), cpu=_SERVER_CPU) as ports,
    ):
        profile = profiles.floats(Path(folder), _REGISTERS)
        for _ in range(rounds):
            peers.append(
                _Round.of(
                    libmodbus.load(
                        ports=ports, seconds=seconds, function=4, address=0, count=_REGISTERS, cpu=_CLIENT_CPU
                    )
                )
            )
            for how, found in figures.items():
                found.append(_round(how, seconds, profile, ports))
    names = {
        "bus": "requests of one core, decoded to readings",
        "line": "requests of one core, transport alone",
        "pymodbus": "requests of one core, pymodbus's client, nothing decoded",
    }
    # What the C client leaves of its core is what it waited for the server, or for others on the machine.
    share = round(100 * median(peer.cpu_s / peer.took_s for peer in peers))
    peer = f"libmodbus, C, a thread for each device, {share} % of its core"
    results = []
    for how, found in figures.items():
        at_least = 0.5 if how == "bus" else None
        for unit, rate in (("requests/s", _Round.by_clock), ("requests/CPU s", _Round.by_cpu)):
            results.append(
                Result(
                    name=f"modbus: {names[how]}",
                    unit=unit,
                    figures=[rate(one) for one in found],
                    peer=peer,
                    peer_figures=[rate(one) for one in peers],
                    at_least=at_least,
                )
            )
    return results


@dataclass(frozen=True, slots=True)
class _Round:
    """Requests answered, the seconds they took, and those of CPU."""

    requests: int
    took_s: float
    cpu_s: float

    @classmethod
    def of(cls, printed: Sequence[str]) -> "_Round":
        requests, took_s, cpu_s = printed
        return cls(int(requests), float(took_s), float(cpu_s))

    def by_clock(self) -> float:
        return self.requests / self.took_s

    def by_cpu(self) -> float:
        return self.requests / self.cpu_s


def _round(how: str, seconds: float, profile: Path, ports: Sequence[int]) -> _Round:
    command = ["taskset", "-c", str(_CLIENT_CPU), sys.executable, "-m", "bench.client", how, str(seconds)]
    done = subprocess.run(
        [*command, str(profile), *map(str, ports)], capture_output=True, text=True, timeout=seconds + 60, check=True
    )
    return _Round.of(done.stdout.split())
