"""Receivers and workers as processes of their own, and what each takes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.sender import await_ready
from bench.usage import Usage
from local.servers import free_port

_NO_DOMAIN = "postgresql://127.0.0.1:1/none"


@contextmanager
def programs(dsn: str, receivers: int, workers: int) -> Iterator[tuple[list[int], dict[str, Usage]]]:
    """So many of each as processes of their own: the receivers' ports, and what each process takes."""
    environment = os.environ | {"SEGS_TELEMETRY_DSN": dsn, "SEGS_DOMAIN_DSN": _NO_DOMAIN}
    with ExitStack() as stack:

        def start(*arguments: str) -> Usage:
            command = [sys.executable, "-m", "cloud", *arguments]
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return Usage(process.pid)

        ports = [free_port() for _ in range(receivers)]
        usages = {f"receiver {n + 1}": start("serve", "--port", str(port)) for n, port in enumerate(ports)}
        for port in ports:
            await_ready(port)
        usages |= {f"worker {n + 1}": start("worker") for n in range(workers)}
        yield ports, usages
