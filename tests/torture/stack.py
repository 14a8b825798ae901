"""The whole machine under torture: meters, broker, gateway, link, two receivers, worker, PostgreSQL."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from edge.status.status import BUFFER_FILE
from edge.status.stored import Unreadable, stored_in
from local import fleet, scrape
from local.databases import Databases
from local.servers import MosquittoBroker, ServerError, free_port
from local.service import Service, ServiceError
from tests.torture import power_cut
from tests.torture.history import METER_TIMEOUT_US, History, now_us
from tests.torture.parts import Part
from tests.torture.proxy import FAIR, Proxy
from tests.torture.shim import Shim, ShimUnavailable, library
from tests.torture.supervisor import Supervisor
from tests.torture.turns import Turns

GATEWAY = "attic"
RECEIVERS = ("receiver-1", "receiver-2")
COMMIT_INTERVAL_S = 0.5
# On top of the window: what the commit itself takes on a machine that is busy with everything else.
_COMMIT_S = 0.5
METERS_MODBUS, METERS_MQTT = 12, 6
INTERVAL_S = 1.0
_DISK_BYTES = 48 * 1024 * 1024
_PYTHON = sys.executable


class Aborted(Exception):
    """The run is over; whoever still waits for something gives up."""


class Stack:
    """All of it in a temporary folder, a context manager. What ends without being told to is started again.

    The folder goes at the end, unless `keep` is set by then or an error ended it.
    """

    def __init__(self, *, seed: int, keep: bool = False, say: Callable[[str], None] = lambda _: None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="segs-torture-"))
        self.say = say
        self.over = threading.Event()
        self.history = History(COMMIT_INTERVAL_S + _COMMIT_S)
        self.parts: dict[str, Part] = {}
        self.shims: dict[str, Shim] = {}
        self.skipped: dict[str, str] = {}
        self.keep, self._chance = keep, random.Random(seed)
        self.supervisor = Supervisor(
            parts=self.parts, shims=self.shims, history=self.history, over=self.over, chance=self._chance, say=say
        )
        self._field = self.home / "field"
        self._databases = Databases(home=self.home)
        self._broker = MosquittoBroker(data_dir=self.home / "mosquitto")
        self.fleet = fleet.build(
            modbus=METERS_MODBUS, mqtt=METERS_MQTT, per_endpoint=4, timeout_s=METER_TIMEOUT_US / 1e6
        )
        self._exits = ExitStack()

    def __enter__(self) -> "Stack":
        try:
            self._assemble()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        # An interrupt says nothing of the run.
        self.keep = self.keep or isinstance(error, Exception)
        self._close()

    def _assemble(self) -> None:
        self._field.mkdir()
        disk = self._small_disk()
        self._exits.callback(self._end_everything)
        self.data = disk / "gateway"
        self.data.mkdir()
        self._databases.start()
        self._broker.start()
        self._ports = fleet.Ports(
            modbus=[free_port() for _ in self.fleet.modbus],
            broker=self._broker.port,
            receiver=free_port(),
            worker_metrics=free_port(),
            edge_metrics=free_port(),
        )
        self.receiver_ports = {name: free_port() for name in RECEIVERS}
        self._register()
        self._make_shims()
        self._make_parts()
        self.proxy = self._exits.enter_context(
            Proxy(
                port=self._ports.receiver,
                targets=list(self.receiver_ports.values()),
                seed=self._chance.randrange(2**32),
            )
        )
        for name in (*RECEIVERS, "worker", "edge"):
            self.parts[name].start()
        self.await_true(lambda: all(scrape.ready(port) for port in self.receiver_ports.values()), 30, "the receivers")
        self.await_true(lambda: self.metrics()["segs_edge_broker_connected"] > 0, 30, "the gateway")
        self.parts["simulator"].start()
        self.supervisor.start()
        self._exits.callback(self.supervisor.join, 30)

    def _small_disk(self) -> Path:
        """The gateway's own disk, where root may mount one; else a folder."""
        disk = self.home / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(disk)]
        if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            self._exits.callback(self._unmount, disk)
            self.small_disk: Path | None = disk
        else:
            self.small_disk = None
        return disk

    def _unmount(self, disk: Path) -> None:
        """What is kept must outlive the mount: it takes its place."""
        held = disk.with_name("disk-kept")
        if self.keep:
            shutil.copytree(disk, held, ignore=_sockets)
        done = subprocess.run(["umount", "--lazy", str(disk)], capture_output=True, check=False)
        if self.keep and done.returncode == 0:
            disk.rmdir()
            held.rename(disk)

    def _register(self) -> None:
        self.fleet.write(
            self._field,
            self._ports,
            name=GATEWAY,
            commit_interval_s=COMMIT_INTERVAL_S,
            settings={
                "gateway": {"data_dir": str(self.data)},
                "uplink": {"timeout_s": 5.0, "send_interval_s": 0.5, "max_readings": 400},
                # The disk is small, and what is tried is what happens when it is full.
                "buffer": {"min_free_bytes": 0},
            },
        )
        self._cloud("gateway", "add", GATEWAY, "--key-file", str(self._field / "gateway.key"))
        self._cloud("gateway", "device", "import", GATEWAY, str(self._field / "devices.csv"))

    def _cloud(self, *arguments: str) -> None:
        owner = {f"SEGS_{name.upper()}_DSN": self._databases.dsn(name) for name in ("domain", "telemetry")}
        command = [_PYTHON, "-m", "cloud", *arguments]
        done = subprocess.run(command, env=os.environ | owner, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"segs-cloud {' '.join(arguments)}: {done.stderr.strip()}")

    def _make_shims(self) -> None:
        try:
            library()
        except ShimUnavailable as reason:
            self.skipped["shim"] = str(reason)
            return
        self.shims.update({name: Shim(control=self.home / "shim" / name) for name in RECEIVERS})
        self.shims["edge"] = Shim(
            control=self.home / "shim" / "edge", folder=self.data, log=self.home / "shim" / "undo"
        )
        for shim in self.shims.values():
            shim.synchronize(True)
            self._exits.callback(shim.close)

    def _make_parts(self) -> None:
        cloud, edge, simulator = ([_PYTHON, "-m", package] for package in ("cloud", "edge", "firmware_sim"))
        journal = ["--journal", str(self.journal), "--acknowledgements"]
        self.journal.touch()
        ingest = {"SEGS_TELEMETRY_DSN": self._databases.dsn("telemetry", "segs_ingest")}
        work = {
            f"SEGS_{name.upper()}_DSN": self._databases.dsn(name, "segs_worker") for name in ("telemetry", "domain")
        }
        commands: dict[str, tuple[list[str], Mapping[str, str]]] = {
            name: ([*cloud, "serve", "--host", "127.0.0.1", "--port", str(port)], ingest)
            for name, port in self.receiver_ports.items()
        }
        commands["worker"] = ([*cloud, "worker", "--metrics-port", str(self._ports.worker_metrics)], work)
        commands["edge"] = ([*edge, "run", "--config", str(self.gateway_file)], {})
        commands["simulator"] = ([*simulator, "run", str(self._field / "fleet.toml"), *journal], {})
        for name, (argv, environment) in commands.items():
            shim = self.shims.get(name)
            told = {**environment, **(shim.environment if shim else {})}
            service = Service(name=name, argv=argv, environment=partial(dict, told), home=self.home)
            before = partial(power_cut.compact, shim) if shim and shim.log else lambda: None
            self.parts[name] = Part(name, service, before_start=before)
        self.parts["postgresql"] = Part("postgresql", self._databases.server)
        self.parts["mosquitto"] = Part("mosquitto", self._broker)
        self.turns = Turns((*self.parts, "link"), wait=self.wait)

    def _close(self) -> None:
        self.over.set()
        for part in self.parts.values():
            part.thaw()
        self._exits.close()
        if self.keep:
            self.say(f"kept: {self.home}")
        else:
            shutil.rmtree(self.home, ignore_errors=True)

    def _end_everything(self) -> None:
        for part in reversed(list(self.parts.values())):
            with suppress(ServerError, ServiceError):
                part.kill()
        with suppress(ServerError):
            self._databases.server.stop("immediate")
        with suppress(ServerError):
            self._broker.kill()
        self._await_orphans()

    def _await_orphans(self) -> None:
        """PostgreSQL's children leave by themselves once their parent is gone, and until then they hold its files."""
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s and _names_of_processes_in(self.home / "postgres" / "cluster"):
            time.sleep(0.05)

    # What faults do.

    def kill(self, name: str) -> None:
        """kill -9, and it stays down."""
        part = self.parts[name]
        with part.lock:
            part.down = True
            killed_us = now_us()
            part.kill()
        self.history.died(name, killed_us, now_us())

    def stop(self, name: str) -> None:
        """A clean stop, and it stays down."""
        part = self.parts[name]
        with part.lock:
            part.down = True
            part.stop()

    def start(self, name: str) -> None:
        part = self.parts[name]
        for _ in range(5):
            try:
                with part.lock:
                    part.start()
                    part.down = False
                    self.history.began(name, part.started_us)
                    return
            except (ServerError, ServiceError) as error:
                self.say(f"{name} does not start: {error}")
                self.wait(0.5)
        raise ServiceError(f"{name} does not start")

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """SIGSTOP, and SIGCONT in the end."""
        part = self.parts[name]
        from_us = now_us()
        part.freeze()
        try:
            yield
        finally:
            part.thaw()
            self.history.stopped(name, from_us, now_us())

    def wait(self, seconds: float) -> None:
        """Raises Aborted when the run is over before, or the supervisor is gone."""
        if self.over.wait(seconds):
            raise Aborted from self.supervisor.broken

    def waited(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for `condition`; whether it came true. Raises Aborted."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            self.wait(0.05)
        return True

    def await_true(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Raises ServiceError when `what` is not there in time."""
        if not self.waited(condition, timeout_s):
            tails = "\n".join(f"{name}: {part.tail()}" for name, part in self.parts.items() if part.tail())
            raise ServiceError(f"{what}: not there after {timeout_s:g} s\n{tails}")

    def let_live(self, name: str, seconds: float) -> None:
        """Wait until it has run for so long, whoever started it."""
        part = self.parts[name]
        self.waited(lambda: part.pid is not None and now_us() - part.started_us >= seconds * 1e6, seconds + 15)

    # What everybody sees.

    @property
    def gateway_file(self) -> Path:
        return self._field / "gateway.toml"

    @property
    def journal(self) -> Path:
        return self._field / "journal.jsonl"

    @property
    def broker_port(self) -> int:
        return self._ports.broker

    @property
    def link_port(self) -> int:
        return self._ports.receiver

    def dsn(self) -> str:
        """The telemetry database, as its owner."""
        return self._databases.dsn("telemetry")

    @property
    def database_port(self) -> int:
        return self._databases.server.port

    def metrics(self) -> dict[str, float]:
        """The gateway's, each summed over its labels; zeros while it does not run."""
        return scrape.totals(self._ports.edge_metrics)

    def status(self) -> dict[str, Any] | None:
        """What `segs-edge status --json` says; None where it cannot be told now."""
        command = [_PYTHON, "-m", "edge", "status", "--json", "--config", str(self.gateway_file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            found = json.loads(done.stdout)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def backlog(self) -> int | None:
        """Readings in the gateway's buffer without a receipt; None where it cannot be told now.

        Asked many times a second, so without a process of its own.
        """
        try:
            found = stored_in(self.data / BUFFER_FILE)
        except (Unreadable, OSError):
            return None
        return None if found is None else found.backlog.readings

    def time_is_known(self) -> bool:
        """Whether the gateway says that somebody vouches for its time."""
        return self.metrics()["segs_edge_time_known"] > 0

    def backends(self, application: str) -> list[int]:
        """Processes of PostgreSQL that serve `application`."""
        with psycopg.connect(self.dsn(), connect_timeout=5) as connection:
            query = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s"
            return [pid for (pid,) in connection.execute(query, [f"{application}%"])]

    def heal(self) -> None:
        """Nothing fails any more, everything runs."""
        for shim in self.shims.values():
            shim.heal()
        self.proxy.weather = FAIR
        for part in self.parts.values():
            part.thaw()
            self.start(part.name)


def _sockets(folder: str, names: list[str]) -> list[str]:
    """Those of `names` that nothing can be copied of."""
    return [name for name in names if (Path(folder) / name).is_socket()]


def _names_of_processes_in(folder: Path) -> list[str]:
    """Those that work in `folder`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if Path(os.readlink(link)) == folder:
                found.append(link.parent.name)
    return found
