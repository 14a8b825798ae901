"""A whole gateway that polls, buffers and syncs, on C meters: its punctuality and what it costs."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import profiles
from bench.daemon import Usage, gateway
from bench.result import Result
from bench.sink import Sink
from local.servers import MosquittoBroker
from peers import libmodbus, thingsboard

_WARM_UP_S = 8.0


def punctuality(*, seconds: float, home: Path) -> list[Result]:
    """200 devices x 40 registers at 1 s: lateness, CPU and memory against their limits."""
    with TemporaryDirectory(dir=home, prefix="bench-") as name, Sink() as sink:
        folder = Path(name)
        with libmodbus.tcp_server(devices=200, registers=profiles.served()) as ports:
            config = buses(ports, profiles.floats(folder, 40))
            used, after = _measured(folder, config, sink, seconds)
        times = {device: sorted(times_us) for device, times_us in sink.times_us.items()}
    _expect(times, devices=200, readings=seconds)
    late_ms = max(_late_ms(times_us) for times_us in times.values())
    share = 100 * used.cpu_s / seconds
    resident_mb = after.resident_bytes / 1e6
    return [
        Result.limit("polling: lateness of the worst of 200 devices, 99th percentile", "ms", late_ms, at_most=50),
        Result.limit("polling: CPU for 200 devices x 40 registers at 1 s", "% of a core", share, at_most=15),
        Result.limit("polling: resident memory with 200 devices", "MB", resident_mb, at_most=60),
    ]


def against_thingsboard(*, seconds: float, rounds: int, home: Path) -> Result:
    """50 devices x 10 registers at 1 s: CPU of ours and of ThingsBoard IoT Gateway, each on 50 of the same meters.

    Both poll at the same time, for `rounds` spans of `seconds` after they warmed up: what the machine does besides is
    the same for both.
    """
    ours, theirs = [], []
    with (
        libmodbus.tcp_server(devices=50, registers=profiles.served()) as ports,
        libmodbus.tcp_server(devices=50, registers=profiles.served()) as their_ports,
        TemporaryDirectory(dir=home, prefix="bench-") as name,
        Sink() as sink,
    ):
        folder = Path(name)
        with (
            _thingsboard(folder, their_ports) as peer,
            gateway(folder, buses(ports, profiles.integers(folder, 10)), sink.url) as own,
        ):
            time.sleep(2 * _WARM_UP_S)
            for _ in range(rounds):
                before, peer_before = Usage.of(own.pid), Usage.of(peer.pid)
                time.sleep(seconds)
                after, peer_after = Usage.of(own.pid), Usage.of(peer.pid)
                if peer_after.written_bytes <= peer_before.written_bytes:
                    raise RuntimeError("ThingsBoard IoT Gateway stored nothing; it did not poll")
                ours.append(100 * (after.cpu_s - before.cpu_s) / seconds)
                theirs.append(100 * (peer_after.cpu_s - peer_before.cpu_s) / seconds)
        _expect(sink.times_us, devices=50, readings=rounds * seconds)
    return Result(
        name="polling: CPU for 50 devices x 10 registers at 1 s",
        unit="% of a core",
        figures=ours,
        peer=f"ThingsBoard IoT Gateway {thingsboard.VERSION}",
        peer_figures=theirs,
        at_most=0.2,
    )


@contextmanager
def _thingsboard(folder: Path, ports: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """It polls ten registers of each of `ports` each second, and publishes to a broker of its own."""
    (folder / "broker").mkdir()
    (folder / "thingsboard").mkdir()
    with (
        MosquittoBroker(data_dir=folder / "broker") as broker,
        thingsboard.polling(
            folder=folder / "thingsboard",
            broker_port=broker.port,
            ports=ports,
            function=4,
            addresses=range(10),
            interval_s=1,
        ) as process,
    ):
        yield process


def _measured(folder: Path, config: str, sink: Sink, seconds: float) -> tuple[Usage, Usage]:
    """What the gateway used in `seconds` after its warm-up, and the whole of it at the end."""
    with gateway(folder, config, sink.url) as process:
        time.sleep(_WARM_UP_S)
        before = Usage.of(process.pid)
        time.sleep(seconds)
        after = Usage.of(process.pid)
    written = after.written_bytes - before.written_bytes
    return Usage(after.cpu_s - before.cpu_s, written, after.resident_bytes), after


def buses(ports: Sequence[int], profile: Path) -> str:
    """The [[modbus]] tables of a device `meter-PORT` at each of `ports`, read each second."""
    return "\n".join(
        f"""
[[modbus]]
host = "127.0.0.1"
port = {port}
[[modbus.device]]
id = "meter-{port}"
unit = 1
profile = "{profile}"
interval_s = 1.0"""
        for port in ports
    )


def _late_ms(times_us: Sequence[int]) -> float:
    """99th percentile of how long after its slot a device was read; slots are 1 s apart, the earliest was on time."""
    # Around the first one's offset: a read a little before it is not nearly a second late.
    offsets_us = sorted((at_us - times_us[0] + 500_000) % 1_000_000 for at_us in times_us)
    return (offsets_us[round(0.99 * (len(offsets_us) - 1))] - offsets_us[0]) / 1000


def _expect(times_us: dict[str, list[int]], *, devices: int, readings: float) -> None:
    """A figure counts only when every device was read all the time."""
    fewest = min(map(len, times_us.values()), default=0)
    if len(times_us) != devices or fewest < readings:
        raise RuntimeError(f"{len(times_us)} devices of {devices} were read, the rarest {fewest} times in {readings} s")
