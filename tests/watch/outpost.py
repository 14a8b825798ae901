"""A gateway of its own with its simulated meters, that faults are injected into while both run."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from firmware_sim.faults.control import tell
from local import scrape
from local.fleet import Fleet, Meter, Ports
from local.servers import free_port
from local.service import Service
from local.stack import Stack

COMMIT_INTERVAL_S = 0.5


class Outpost:
    """Gateway `name`, and the meters of `fleet`, in a folder of the stack's. It is registered when it is made.

    `environment` is what the gateway is started with on top of this process's own.
    """

    def __init__(self, *, stack: Stack, name: str, fleet: Fleet, environment: Mapping[str, str] | None = None) -> None:
        self.name, self.fleet = name, fleet
        folder = stack.home / name
        folder.mkdir()
        self._ports = Ports(
            modbus=[free_port() for _ in fleet.modbus],
            broker=stack.broker.port,
            receiver=urlsplit(stack.receiver_url).port or 0,
            worker_metrics=0,
            edge_metrics=free_port(),
        )
        fleet.write(folder, self._ports, name=name, commit_interval_s=COMMIT_INTERVAL_S)
        stack.cloud("gateway", "add", name, "--key-file", str(folder / "gateway.key"))
        said = stack.cloud("gateway", "device", "import", name, str(folder / "devices.csv"))
        self.codes = dict(_pair(line) for line in said.splitlines() if " MTR-" in line)
        # A socket's path is short.
        self._control = Path(os.path.relpath(folder / "control"))
        python = [sys.executable, "-m"]
        simulator = [*python, "firmware_sim", "run", str(folder / "fleet.toml")]
        simulator += ["--journal", str(folder / "journal.jsonl"), "--control", str(self._control)]
        self.simulator = _service(f"{name}-meters", simulator, {}, stack.home)
        edge = [*python, "edge", "run", "--config", str(folder / "gateway.toml")]
        self.edge = _service(f"{name}-edge", edge, environment or {}, stack.home)

    def start_meters(self) -> None:
        """Start the meters, and wait until they take commands. Raises ServiceError."""
        self.simulator.start()
        while '"ready"' not in self.simulator.tail():
            self.simulator.expect_alive()
            time.sleep(0.05)

    @property
    def connected(self) -> bool:
        """Whether the gateway runs and has its broker."""
        self.edge.expect_alive()
        return scrape.totals(self._ports.edge_metrics)["segs_edge_broker_connected"] > 0

    def fault(self, meter: str, kind: str, **settings: object) -> None:
        """Inject a fault. Raises ControlError when the meter cannot have it."""
        tell(self._control, {"meter": meter, "fault": {"kind": kind, **settings}})

    def heal(self) -> None:
        """End all faults of all meters."""
        tell(self._control, {"meter": "*", "clear": True})

    def stop(self) -> None:
        """End gateway and meters."""
        for service in (self.edge, self.simulator):
            service.stop(timeout_s=10)


def fleet_of(endpoints: Sequence[Sequence[str]], mqtt: Sequence[str], *, region: str, interval_s: float = 2.0) -> Fleet:
    """SDM630s, one list of names for each of their lines, and Tasmota plugs with `mqtt` names."""
    return Fleet(
        tuple(tuple(Meter(name, "eastron-sdm630", 3000, region) for name in names) for names in endpoints),
        tuple(Meter(name, "tasmota", 3000, region) for name in mqtt),
        interval_s,
        7,
    )


def _service(name: str, argv: list[str], environment: Mapping[str, str], home: Path) -> Service:
    return Service(name=name, argv=argv, environment=partial(dict, environment), home=home)


def _pair(line: str) -> tuple[str, str]:
    device, code = line.split()[:2]
    return device, code
