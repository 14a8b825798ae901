"""The line that a tool works on, and what to try when it says nothing."""

import asyncio
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge.drivers.modbus.line import Line, serial_line, tcp_line
from edge.errors import ModbusFault
from edge.tls import context
from edge.tools.outcome import ToolFault

_CONNECT_TIMEOUT_S = 5.0
_PAUSES_S = (0.1, 0.5)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A TCP endpoint where `host` is given, else the serial line at `serial`."""

    host: str | None
    port: int
    framing: Literal["tcp", "rtu"]
    tls: bool
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    server_name: str | None
    serial: Path | None
    baud_rate: int
    parity: Literal["none", "even", "odd"]
    stop_bits: Literal[1, 2]
    silence_ms: int

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}" if self.host is not None else str(self.serial)

    @property
    def wire(self) -> Literal["tcp", "rtu"]:
        """How frames look on it."""
        return "rtu" if self.serial is not None else self.framing

    def at(self, baud_rate: int) -> "Endpoint":
        return replace(self, baud_rate=baud_rate)

    def line(self, *, silence_ms: int = 0) -> Line:
        """A line, not connected yet. `silence_ms` is what its meters need; ours may be more. Raises ConfigError."""
        silence_s = max(silence_ms, self.silence_ms) / 1000
        if self.host is None:
            return serial_line(
                path=str(self.serial),
                baud_rate=self.baud_rate,
                parity=self.parity,
                stop_bits=self.stop_bits,
                silence_s=silence_s or None,
            )
        return tcp_line(
            host=self.host,
            port=self.port,
            framing=self.framing,
            tls=self._context() if self.tls else None,
            server_name=self.server_name,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            silence_s=silence_s,
        )

    def _context(self) -> ssl.SSLContext:
        files = {
            name: None if file is None else str(file)
            for name, file in (
                ("ca_file", self.ca_file),
                ("certificate_file", self.certificate_file),
                ("key_file", self.key_file),
            )
        }
        return context(**files, trail="tls")

    def table(self) -> dict[str, Any]:
        """Its keys in a [[modbus]] table of gateway.toml, those that differ from their defaults."""
        if self.serial is not None:
            return {
                "serial": str(self.serial),
                "baud_rate": self.baud_rate,
                "parity": self.parity,
                "stop_bits": self.stop_bits,
                **({"silence_ms": self.silence_ms} if self.silence_ms else {}),
            }
        found: dict[str, Any] = {"host": self.host, "port": self.port}
        if self.framing != "tcp":
            found["framing"] = self.framing
        if self.tls:
            files = {
                "ca_file": self.ca_file and str(self.ca_file.absolute()),
                "certificate_file": self.certificate_file and str(self.certificate_file.absolute()),
                "key_file": self.key_file and str(self.key_file.absolute()),
                "server_name": self.server_name,
            }
            found["tls"] = {key: value for key, value in files.items() if value}
        if self.silence_ms:
            found["silence_ms"] = self.silence_ms
        return found

    def silent(self) -> str:
        """What to check where nobody answers."""
        if self.serial is not None:
            return "check wiring (A and B), speed and --timeout"
        return "check that this is its Modbus port, --framing and --timeout, and that no other master holds it"

    def unreached(self, fault: ModbusFault) -> ToolFault:
        """`fault` of a connection that could not be made, with what to try."""
        if self.serial is not None:
            todo = (
                "check the path and its rights (group dialout); "
                "a running segs-edge or another program may hold the line: stop it for as long as you look"
            )
        else:
            todo = (
                "check host and port (Modbus TCP is mostly 502); an endpoint that allows one connection "
                "refuses a second while segs-edge or another master holds it"
            )
        return ToolFault(f"{fault.reason}; {todo}")


async def ask(line: Line, *, unit: int, function: int, address: int, count: int, timeout_s: float) -> bytes:
    """`line.read`, on a connection that is opened again where the last request cost it. Raises ModbusFault."""
    if not line.connected:
        await reconnect(line)
    return await line.read(unit=unit, function=function, address=address, count=count, timeout_s=timeout_s)


async def reconnect(line: Line) -> None:
    """Connect; again after a moment, as an endpoint of one connection may take a while to forget the last one."""
    for pause_s in _PAUSES_S:
        try:
            return await line.connect()
        except ModbusFault:
            await asyncio.sleep(pause_s)
    return await line.connect()
