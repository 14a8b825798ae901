"""segs-edge write: the one way by which anything of SEGS writes to a meter, and never by itself."""

import asyncio
import getpass
import os
import struct
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import structlog
import typer

from edge import log
from edge.config.models import LogConfig
from edge.drivers.modbus.line import Line
from edge.errors import ModbusFault
from edge.profiles.modbus.words import FORMAT, WIDTH, NumberType, Order, number, ordered
from edge.tools import options
from edge.tools.lines.endpoint import Endpoint, ask, reconnect
from edge.tools.outcome import NOTHING, USAGE, ToolFault, fail, note

WriteType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "float32", "float64"]


@options.with_endpoint
def command(
    endpoint: Endpoint,
    unit: options.Unit,
    address: Annotated[
        str, typer.Option("--address", help="of the first register, as on the wire, from 0; 0x… or decimal")
    ],
    kind: Annotated[WriteType, typer.Option("--type", help="how the value stands in registers")],
    value: Annotated[str, typer.Option("--value", help="the number to write; 0x… for bit patterns of integers")],
    timeout_s: options.Timeout = 1.0,
    word_order: Annotated[Order, typer.Option("--word-order", help="which word of a long value comes first")] = "big",
    byte_order: Annotated[Order, typer.Option("--byte-order", help="which byte of a register comes first")] = "big",
    function: Annotated[
        int | None,
        typer.Option("--function", help="6 or 16 [default: 6 for one register, 16 for more]", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask; required where nobody can be asked")] = False,
    broadcast: Annotated[
        bool, typer.Option("--broadcast", help="allow unit 0, which on a serial line is every meter")
    ] = False,
) -> None:
    """Write one value to holding registers of a meter.

    Shows what stands there, asks, writes, reads back and says what stands there now. A wrong write can change a
    meter's address, its transformer ratio or its energy register: it may be an offence, and there is no undo. The
    gateway itself never writes. One line of the log, on standard error, says who wrote what and what was there before.

    Ends with 0 when the value stands there after it was written, 1 when it was not written or something else stands
    there, 2 for a wrong command line.

    \b
    Examples:
      segs-edge write --host 192.0.2.10 --unit 1 --address 0x0014 --type float32 --value 2
      segs-edge write --serial /dev/serial/by-id/… --unit 1 --address 0x00A0 --type u16 --value 7 --function 6 --yes
    """
    if unit == 0 and not broadcast:
        fail("--unit 0: every meter of the line would write, and none answer; give --broadcast if you mean it", USAGE)
    options.on_line(endpoint, [unit] if unit else [])
    words = _words(value, kind, word_order, byte_order)
    written_by = (6 if len(words) == 1 else 16) if function is None else function
    if written_by not in (6, 16) or (written_by == 6 and len(words) > 1):
        fail(f"--function {written_by}: {kind} is {len(words)} registers; 6 writes one, 16 any number", USAGE)
    log.configure(LogConfig())
    order = _Order(
        endpoint=endpoint,
        unit=unit,
        address=_address(address, len(words)),
        kind=kind,
        orders=(word_order, byte_order),
        words=words,
        function=written_by,
        timeout_s=timeout_s,
    )
    try:
        done = asyncio.run(order.carry_out(sure=yes))
    except ToolFault as fault:
        fail(fault)
    if not done:
        raise typer.Exit(NOTHING)


class _Order:
    """One value for one place."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        unit: int,
        address: int,
        kind: NumberType,
        orders: tuple[Order, Order],
        words: Sequence[int],
        function: int,
        timeout_s: float,
    ) -> None:
        self._endpoint, self._unit, self._address, self._kind, self._orders = endpoint, unit, address, kind, orders
        self._words, self._function, self._timeout_s = tuple(words), function, timeout_s
        self._where = f"{endpoint.name} unit {unit} register {address:#06x}"

    async def carry_out(self, *, sure: bool) -> bool:
        """Whether the value stands there now. Raises ToolFault when nothing was written."""
        async with self._endpoint.line() as line:
            try:
                await reconnect(line)
            except ModbusFault as fault:
                raise self._endpoint.unreached(fault) from fault
            before = await self._there(line)
            note(f"{self._where}: now {self._said(before)}")
            note(f"{self._where}: to be {self._said(_packed(self._words))}, by function {self._function}")
            if not sure and not self._confirmed():
                raise ToolFault(f"{self._where}: nothing written")
            await self._write(line, before)
            if self._unit == 0:
                note(f"{self._where}: broadcast; nobody answers one, read the meters to see")
                return True
            after = await self._there(line)
        note(f"{self._where}: reads back {self._said(after)}")
        if after != _packed(self._words):
            note(f"{self._where}: that is not what was written; the meter may want a password, or refuse the value")
            return False
        return True

    def _confirmed(self) -> bool:
        if not sys.stdin.isatty():
            raise ToolFault(f"{self._where}: nothing written; nobody to ask on a terminal: give --yes if you mean it")
        return typer.confirm("Write it?", default=False, err=True)

    async def _there(self, line: Line) -> bytes | None:
        """What stands there; None where it cannot be read, as of a broadcast."""
        if self._unit == 0:
            return None
        try:
            return await ask(
                line,
                unit=self._unit,
                function=3,
                address=self._address,
                count=len(self._words),
                timeout_s=self._timeout_s,
            )
        except ModbusFault as fault:
            if fault.exception_code is None:
                raise ToolFault(f"{self._where}: {fault.reason}; nothing is written to what does not answer") from fault
            return None

    async def _write(self, line: Line, before: bytes | None) -> None:
        audit = structlog.get_logger("edge.tools.write").bind(
            by=_who(),
            endpoint=self._endpoint.name,
            unit=self._unit,
            address=f"{self._address:#06x}",
            function=self._function,
            old=None if before is None else before.hex(" ", 2),
            new=_packed(self._words).hex(" ", 2),
        )
        try:
            if not line.connected:
                await reconnect(line)
            await line.write(
                unit=self._unit,
                function=self._function,
                address=self._address,
                values=self._words,
                timeout_s=self._timeout_s,
            )
        except ModbusFault as fault:
            if self._unit == 0 and fault.exception_code is None:
                audit.warning("register written", confirmed=False)
                return
            refused = fault.exception_code is not None
            audit.error("register not written" if refused else "register perhaps written", reason=fault.reason)
            todo = "the meter refuses it" if refused else "it may have been written all the same: read it"
            raise ToolFault(f"{self._where}: {fault.reason}; {todo}") from fault
        audit.warning("register written", confirmed=True)

    def _said(self, data: bytes | None) -> str:
        if data is None:
            return "unknown"
        return f"{number(ordered(data, *self._orders), self._kind)} ({data.hex(' ', 2)})"


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    asked_by = os.environ.get("SUDO_USER")
    return f"{name} for {asked_by}" if asked_by else name


def _packed(words: Sequence[int]) -> bytes:
    return struct.pack(f">{len(words)}H", *words)


def _words(text: str, kind: WriteType, word_order: Order, byte_order: Order) -> list[int]:
    """The registers of the value, as they go over the wire."""
    try:
        value = float(text) if kind.startswith("float") else int(text, 0)
        data = ordered(struct.pack(f">{FORMAT[kind]}", value), word_order, byte_order)
    except (ValueError, struct.error, OverflowError):
        whole = "a number" if kind.startswith("float") else "a whole number, decimal or 0x…,"
        fail(f"--value {text}: not {whole} that fits {kind}", USAGE)
    return list(struct.unpack(f">{WIDTH[kind]}H", data))


def _address(text: str, count: int) -> int:
    try:
        address = int(text, 0)
    except ValueError:
        fail(f"--address {text}: no address; write 0x0014 or 20, as on the wire, from 0", USAGE)
    if not 0 <= address <= 0x10000 - count:
        fail(f"--address {text}: {count} registers from there are not within 0 to 0xffff", USAGE)
    return address
