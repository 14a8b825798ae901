"""The options that tools share: which line, which profile, which units; refused where they contradict each other."""

import re
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edge.profiles import catalog
from edge.tools.lines.endpoint import Endpoint
from edge.tools.outcome import USAGE, fail
from edge.validation import suggestion

Host = Annotated[str | None, typer.Option("--host", help="Modbus TCP endpoint: name or address", show_default=False)]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="its port [502; 802 with --tls]", show_default=False),
]
Framing = Annotated[Literal["tcp", "rtu"], typer.Option("--framing", help="rtu: RTU frames over TCP")]
Tls = Annotated[bool, typer.Option("--tls", help="Modbus over TLS")]
CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", help="whom to trust with --tls, PEM [the system's]", show_default=False),
]
CertificateFile = Annotated[
    Path | None, typer.Option("--certificate-file", help="our certificate with --tls, PEM", show_default=False)
]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="its key, PEM", show_default=False)]
ServerName = Annotated[
    str | None, typer.Option("--server-name", help="the name in the endpoint's certificate", show_default=False)
]
Serial = Annotated[
    Path | None,
    typer.Option("--serial", help="serial line instead of --host, best by /dev/serial/by-id/…", show_default=False),
]
BaudRate = Annotated[int, typer.Option("--baud-rate", min=300, max=1_000_000, help="of the serial line")]
Parity = Annotated[Literal["none", "even", "odd"], typer.Option("--parity", help="of the serial line")]
StopBits = Annotated[int, typer.Option("--stop-bits", min=1, max=2, help="of the serial line")]
Silence = Annotated[int, typer.Option("--silence-ms", min=0, max=1000, help="extra silence between two requests")]
Unit = Annotated[int, typer.Option("--unit", min=0, max=255, help="the meter's address on the line")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.01, max=30, help="seconds to wait for a reply")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output")]

_HOST_AND_PORT = re.compile(r"(?:[^:]*|\[.*\]):\d+|\w+://.*")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?\Z")


def endpoint(
    *,
    host: Host = None,
    port: Port = None,
    framing: Framing = "tcp",
    tls: Tls = False,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    key_file: KeyFile = None,
    server_name: ServerName = None,
    serial: Serial = None,
    baud_rate: BaudRate = 9600,
    parity: Parity = "none",
    stop_bits: StopBits = 1,
    silence_ms: Silence = 0,
) -> Endpoint | None:
    """The line that the options describe, None where they describe none; ends the program where they describe two."""
    secured = any((ca_file, certificate_file, key_file, server_name))
    if host is not None and (not host.strip() or _HOST_AND_PORT.fullmatch(host)):
        fail(f"--host {host!r}: give a name or an address, and the port by --port", USAGE)
    if host is not None and serial is not None:
        fail("--host and --serial: a line is one of them", USAGE)
    if secured and not tls:
        fail("--ca-file, --certificate-file, --key-file and --server-name go with --tls", USAGE)
    if serial is not None and (port is not None or tls or framing == "rtu"):
        fail("--port, --framing and --tls are of TCP; a --serial line has --baud-rate, --parity, --stop-bits", USAGE)
    if (certificate_file is None) != (key_file is None):
        fail("--certificate-file and --key-file go together", USAGE)
    if host is None and serial is None:
        return None
    return Endpoint(
        host=host,
        port=port or (802 if tls else 502),
        framing=framing,
        tls=tls,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        server_name=server_name,
        serial=serial,
        baud_rate=baud_rate,
        parity=parity,
        stop_bits=2 if stop_bits == 2 else 1,
        silence_ms=silence_ms,
    )


def with_endpoint(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of a line in place of its parameter `endpoint`.

    Where the parameter may not be None, the options have to name a line.
    """
    own, line = signature(command), signature(endpoint)
    needed = own.parameters["endpoint"].annotation is Endpoint

    @wraps(command)
    def expanded(**given: Any) -> None:
        found = endpoint(**{name: given.pop(name) for name in line.parameters})
        if found is None and needed:
            fail("name the line by --host 192.0.2.10 or --serial /dev/serial/by-id/…", USAGE)
        command(endpoint=found, **given)

    rest = [each for each in own.parameters.values() if each.name != "endpoint"]
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*rest, *line.parameters.values())]
    expanded.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {each.name: each.annotation for each in parameters}
    return expanded


def known_profile(name: str, kind: str | None = None) -> str:
    """`name` if there is a profile of that name; ends the program with the nearest names if there is none."""
    known = [found for each in ((kind,) if kind else ("modbus", "mqtt")) for found in catalog.known(each)]
    if name not in known and not catalog.is_path(name):
        other = {"modbus": "mqtt", "mqtt": "modbus"}.get(kind or "")
        if other and name in catalog.names(other):
            speaks = "publishes over MQTT" if other == "mqtt" else "is read over Modbus"
            fail(f"--profile {name}: that meter {speaks}; see segs-edge profiles", USAGE)
        file = f"; a file is named with its folder, ./{name}" if name.endswith(".toml") else suggestion(name, known)
        fail(f"--profile {name}: unknown{file}; segs-edge profiles lists all {len(known)}", USAGE)
    return name


def on_line(endpoint: Endpoint, units: Iterable[int]) -> None:
    """Ends the program where one of `units` can be no meter's: as in gateway.toml, RTU has 1 to 247."""
    for unit in units:
        if endpoint.wire == "rtu" and not 1 <= unit <= 247:
            fail(f"unit {unit}: on an RTU line a meter has one of 1 to 247", USAGE)


def units(text: str) -> list[int]:
    """Unit addresses of "1-10,17"; ends the program where that is no list of them."""
    found: list[int] = []
    for part in text.split(","):
        match = _RANGE.match(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= first <= last <= 255:
            fail(f"--units {text}: {part.strip()!r} is no unit; write 1-10 or 1,2,17, each from 0 to 255", USAGE)
        found += [unit for unit in range(first, last + 1) if unit not in found]
    return found
