"""Everything on one machine: databases and schemas first, then the services in order, each checking its schema."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local import scrape
from local.databases import Databases
from local.fleet import Fleet, Ports
from local.servers import MosquittoBroker, free_port
from local.service import Service, ServiceError

_PYTHON = sys.executable
# What the broker still has to hand over once the meters have stopped.
_IN_FLIGHT_S = 1.0
_LONGEST_SOCKET_PATH = 107


class Stack:
    """Databases, broker, receiver, worker and API under `home`; simulated meters and a gateway under `home/field`.

    Everything runs in the background and is found again by another Stack of the same `home`.
    """

    def __init__(self, *, home: Path) -> None:
        self.home = home
        self.field = home / "field"
        self.databases = Databases(home=home)
        self.broker = MosquittoBroker(data_dir=home / "mosquitto")
        self.services: dict[str, Service] = {}
        self._ports_file = home / "run" / "ports.json"
        if self._ports_file.exists():
            self._know(_noted(self._ports_file))

    def start_cloud(self, fleet: Fleet) -> None:
        """Step 1, databases and their schemas; step 2, broker, receiver, worker, API. Raises ServerError, SchemaError,
        ServiceError."""
        self.databases.start()
        self.broker.start()
        ports = Ports(
            modbus=[free_port() for _ in fleet.modbus],
            broker=self.broker.port,
            receiver=free_port(),
            worker_metrics=free_port(),
            edge_metrics=free_port(),
            api=free_port(),
        )
        self._ports_file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._ports_file.with_suffix(".new")
        fresh.write_text(json.dumps(ports.as_dict()))
        fresh.replace(self._ports_file)
        self._know(ports)
        for name in ("receiver", "worker", "api"):
            self.services[name].start()
        self.await_true("receiver", lambda: scrape.ready(ports.receiver), timeout_s=30)
        self.await_true("api", lambda: scrape.ready(ports.api), timeout_s=30)

    def add_gateway(self, name: str, fleet: Fleet, commit_interval_s: float) -> None:
        """Write the field's files, make the gateway and its key, and register its meters."""
        self.field.mkdir(parents=True, exist_ok=True)
        fleet.write(self.field, self._ports, name=name, commit_interval_s=commit_interval_s)
        key_file = self.field / "gateway.key"
        key_file.unlink(missing_ok=True)
        self.cloud("gateway", "add", name, "--key-file", str(key_file))
        self.cloud("gateway", "device", "import", name, str(self.field / "devices.csv"))

    def start_field(self) -> None:
        """The gateway, and then the meters: a broker keeps messages only for who has subscribed before."""
        self.services["edge"].start()
        self.await_true("edge", lambda: self.edge_metrics()["segs_edge_broker_connected"] > 0, timeout_s=30)
        self.journal.touch()
        self.services["simulator"].start()

    def stop_field(self) -> None:
        """Meters first, so that nothing is on its way when the gateway has delivered the rest and ends."""
        if self.services["simulator"].pid is not None:
            self.services["simulator"].stop()
            time.sleep(_IN_FLIGHT_S)
        self.services["edge"].stop(timeout_s=30)

    def stop_services(self) -> None:
        """End meters, gateway, receiver, worker and API, in the order that loses nothing."""
        if self.services:
            self.stop_field()
            for name in ("receiver", "worker", "api"):
                self.services[name].stop()

    def stop(self) -> None:
        """End whatever runs, the servers last."""
        self.stop_services()
        self.broker.stop()
        self.databases.server.stop()

    def running(self) -> dict[str, int | None]:
        """Process id of everything that was started, None for what does not run now."""
        return {
            "postgresql": self.databases.server.pid,
            "mosquitto": self.broker.pid,
            **{name: service.pid for name, service in self.services.items()},
        }

    def expect_alive(self) -> None:
        """Raises ServiceError when a service has ended by itself."""
        for service in self.services.values():
            service.expect_alive()

    def cloud(self, *arguments: str) -> str:
        """The output of `segs-cloud ARGUMENTS` as the databases' owner. Raises ServiceError."""
        command = [_PYTHON, "-m", "cloud", *arguments]
        done = subprocess.run(command, env=os.environ | self.owner, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"segs-cloud {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def await_true(self, service: str, condition: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait for `condition` while `service` lives. Raises ServiceError when it ends or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.services[service].expect_alive()
            if time.monotonic() > deadline:
                raise ServiceError(f"{service} is not there after {timeout_s:g} s\n{self.services[service].tail()}")
            time.sleep(0.05)

    def edge_metrics(self) -> dict[str, float]:
        """The gateway's metrics, each summed over its labels; zeros while it does not run."""
        return scrape.totals(self._ports.edge_metrics)

    @property
    def receiver_url(self) -> str:
        return f"http://127.0.0.1:{self._ports.receiver}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._ports.api}/api/v1"

    @property
    def control(self) -> Path | None:
        """Where the simulator takes faults; None where the path is longer than a socket's may be."""
        path = self.field / "control.sock"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH else None

    @property
    def owner(self) -> dict[str, str]:
        """Environment of a command that owns the databases."""
        return {
            "SEGS_DOMAIN_DSN": self.databases.dsn("domain"),
            "SEGS_TELEMETRY_DSN": self.databases.dsn("telemetry"),
        }

    def _know(self, ports: Ports) -> None:
        self._ports = ports
        cloud, edge, simulator = ([_PYTHON, "-m", package] for package in ("cloud", "edge", "firmware_sim"))
        at = ["--host", "127.0.0.1", "--port", str(ports.receiver)]
        control = [] if self.control is None else ["--control", str(self.control)]
        commands = {
            "receiver": [*cloud, "serve", *at],
            "worker": [*cloud, "worker", "--metrics-port", str(ports.worker_metrics)],
            "api": [*cloud, "api", "--port", str(ports.api)],
            "simulator": [*simulator, "run", str(self.field / "fleet.toml"), "--journal", str(self.journal), *control],
            "edge": [*edge, "run", "--config", str(self.gateway_file)],
        }
        self.services = {
            name: Service(name=name, argv=argv, environment=partial(self._environment, name), home=self.home)
            for name, argv in commands.items()
        }

    def _environment(self, service: str) -> dict[str, str]:
        """Each cloud service connects as the role that has its rights, and no more."""
        if service == "receiver":
            return {"SEGS_TELEMETRY_DSN": self.databases.dsn("telemetry", "segs_ingest")}
        if service == "worker":
            return {
                "SEGS_TELEMETRY_DSN": self.databases.dsn("telemetry", "segs_worker"),
                "SEGS_DOMAIN_DSN": self.databases.dsn("domain", "segs_worker"),
            }
        if service == "api":
            return {
                "SEGS_TELEMETRY_DSN": self.databases.dsn("telemetry", "segs_api"),
                "SEGS_DOMAIN_DSN": self.databases.dsn("domain", "segs_api"),
                "SEGS_ENV": "development",
                "SEGS_KEYS": str(self.home / "keys"),
                "SEGS_PAYMENT_SIMULATED_SECRETS": self._provider_secret(),
            }
        return {}

    def _provider_secret(self) -> str:
        """What the simulated provider signs with: drawn once, for who owns the folder."""
        file = self.home / "provider-secret"
        if not file.exists():
            fresh = file.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
                opened.write(secrets.token_urlsafe(32))
            fresh.replace(file)
        return file.read_text()

    @property
    def gateway_file(self) -> Path:
        return self.field / "gateway.toml"

    @property
    def journal(self) -> Path:
        return self.field / "journal.jsonl"


def _noted(ports_file: Path) -> Ports:
    """The ports in `ports_file`. Where it is torn none is known, but what was started can still be stopped."""
    try:
        return Ports(**json.loads(ports_file.read_text()))
    except (ValueError, TypeError):
        return Ports(modbus=[], broker=0, receiver=0, worker_metrics=0, edge_metrics=0)
