"""One dead unit among 30 on an RTU line of 9,600 baud: what it costs the others."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from bench.daemon import gateway
from bench.result import Result
from bench.sink import Sink

_UNITS, _DEAD, _INTERVAL_S, _TIMEOUT_S, _BAUD_RATE = 30, 15, 5.0, 1.0, 9600
# Until the dead unit has been asked twice: its first poll, and the one after its first back-off.
_FIRST_BACK_OFF_S = 3 * _INTERVAL_S


def run(*, seconds: float, home: Path) -> Result:
    """Mean interval of the 29 others, over `seconds` after the first back-off, against the line without a dead unit."""
    # Two lines and two gateways at the same time: most of it is waiting for the wire.
    with ThreadPoolExecutor(max_workers=2) as lines:
        whole, with_dead = lines.map(lambda dead: _interval_s(seconds, home, dead=dead), (None, _DEAD))
    return Result(
        name="modbus: mean interval on a 9,600 baud line with one dead unit of 30",
        unit="s",
        figures=[with_dead],
        peer="the same line without it",
        peer_figures=[whole],
        at_most=1.02,
    )


def _interval_s(seconds: float, home: Path, *, dead: int | None) -> float:
    with TemporaryDirectory(dir=home, prefix="bench-") as name, Sink() as sink:
        folder = Path(name)
        with _simulator(folder, dead) as line, gateway(folder, _bus(line), sink.url):
            time.sleep(_FIRST_BACK_OFF_S + seconds + 2 * _INTERVAL_S)
        return _mean_interval_s(sink.times_us, dead)


def _mean_interval_s(times_us: Mapping[str, list[int]], dead: int | None) -> float:
    """Over all devices but the dead one, from the first reading after the first back-off on."""
    begin_us = min(min(times) for times in times_us.values()) + round(_FIRST_BACK_OFF_S * 1e6)
    intervals = []
    for unit in range(1, _UNITS + 1):
        if unit == dead:
            continue
        times = sorted(at_us for at_us in times_us[f"unit-{unit}"] if at_us >= begin_us)
        intervals.append((times[-1] - times[0]) / (len(times) - 1) / 1e6)
    return mean(intervals)


@contextmanager
def _simulator(folder: Path, dead: int | None) -> Iterator[Path]:
    """The path of a line as slow as 9,600 baud, with a meter at every unit but `dead`."""
    line = folder / "line"
    fleet = f'seed = 1\n[[modbus]]\ntransport = "rtu"\npty = "{line}"\nbaud_rate = {_BAUD_RATE}\n'
    for unit in range(1, _UNITS + 1):
        if unit != dead:
            fleet += f'[[modbus.meter]]\nname = "unit-{unit}"\nmodel = "eastron-sdm120"\nunit = {unit}\n'
    (folder / "fleet.toml").write_text(fleet)
    command = [sys.executable, "-m", "firmware_sim", "run", str(folder / "fleet.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            json.loads(process.stdout.readline())
            yield line
        finally:
            process.kill()


def _bus(line: Path) -> str:
    devices = "".join(
        f"""
[[modbus.device]]
id = "unit-{unit}"
unit = {unit}
profile = "eastron-sdm120"
interval_s = {_INTERVAL_S}
timeout_s = {_TIMEOUT_S}"""
        for unit in range(1, _UNITS + 1)
    )
    return f'[[modbus]]\nserial = "{line}"\nbaud_rate = {_BAUD_RATE}\n{devices}\n'
