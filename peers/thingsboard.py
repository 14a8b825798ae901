"""ThingsBoard IoT Gateway, the Python gateway of that platform, in a virtual environment of its own.

Its platform is played by a broker that takes whatever it publishes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.servers.home import locked, segs_home
from peers.errors import PeerUnavailable

VERSION = "3.8.5"
_STORAGE = {"type": "sqlite", "data_file_path": "./data/data.db", "messages_ttl_check_in_hours": 1}
_STORAGE |= {"messages_ttl_in_days": 7, "max_read_records_count": 1000, "size_limit": 1024, "max_db_amount": 10}


def program(home: Path | None = None) -> Path:
    """The gateway's program, installed into the cache of `home` when first asked for. Raises PeerUnavailable."""
    cache = (home or segs_home()) / "cache"
    folder = cache / f"thingsboard-gateway-{VERSION}"
    found = folder / "bin/thingsboard-gateway"
    with locked(cache / "thingsboard.lock"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", folder])
            _run([folder / "bin/python", "-m", "pip", "install", "-q", f"thingsboard-gateway=={VERSION}"])
            (folder / "complete").touch()
    return found


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerUnavailable(f"ThingsBoard IoT Gateway cannot be installed: {done.stderr.strip()[-500:]}")


@contextmanager
def polling(
    *, folder: Path, broker_port: int, ports: Sequence[int], function: int, addresses: Sequence[int], interval_s: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway that reads 16-bit registers of unit 1 on every port of 127.0.0.1. `folder` takes all that it writes."""
    for name in ("config", "logs", "data"):
        (folder / name).mkdir()
    rows = [
        {"tag": f"r{address}", "type": "16uint", "address": address, "objectsCount": 1, "functionCode": function}
        for address in addresses
    ]
    slave = {"host": "127.0.0.1", "type": "tcp", "method": "socket", "unitId": 1, "timeout": 5, "byteOrder": "BIG"}
    slave |= {"wordOrder": "BIG", "pollPeriod": round(interval_s * 1000), "connectAttemptTimeMs": 1000}
    slave |= {"retries": 1, "connectAttemptCount": 5, "waitAfterFailedAttemptsMs": 1000, "deviceType": "default"}
    slave |= {"attributes": [], "timeseries": rows, "attributeUpdates": [], "rpc": []}
    slaves = [slave | {"port": port, "deviceName": f"meter-{port}"} for port in ports]
    connector = {"type": "modbus", "name": "modbus", "configuration": "modbus.json"}
    platform = {"host": "127.0.0.1", "port": broker_port, "remoteConfiguration": False, "qos": 1}
    platform |= {"statistics": {"enable": False}, "security": {"type": "accessToken", "accessToken": "bench"}}
    files = {
        "tb_gateway.json": {"thingsboard": platform, "storage": _STORAGE, "connectors": [connector]},
        "modbus.json": {"name": "modbus", "master": {"slaves": slaves}},
        "logs.json": _LOGS,
    }
    for name, content in files.items():
        (folder / "config" / name).write_text(json.dumps(content))
    environment = os.environ | {"TB_GW_CONFIG_DIR": str(folder / "config")}
    process = subprocess.Popen(
        [program()], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "logs/gateway.log", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["file"]},
}
