"""A Modbus TCP connection: one request at a time, and never a reply that belongs to an earlier one."""

import asyncio

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ExceptionResponse

from edge.errors import ModbusFault

_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}


class TcpTransport:
    """The connection to one endpoint, an async context manager. Not connected until `connect`."""

    def __init__(self, *, host: str, port: int, connect_timeout_s: float) -> None:
        self.endpoint = f"{host}:{port}"
        self._host, self._port, self._connect_timeout_s = host, port, connect_timeout_s
        self._client: AsyncModbusTcpClient | None = None

    async def __aenter__(self) -> "TcpTransport":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop()

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.connected

    async def connect(self) -> None:
        """Open the connection. Raises ModbusFault when the endpoint cannot be reached in time."""
        self.drop()
        # A new client for each connection: nothing that an old one still holds can reach a new request. Its own
        # time-out is beyond every device's, and neither its retries nor its reconnecting are wanted.
        client = AsyncModbusTcpClient(self._host, port=self._port, timeout=3600, retries=0, reconnect_delay=0)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                reached = await client.connect()
        except TimeoutError:
            reached = False
        except BaseException:
            client.close()
            raise
        if not reached:
            client.close()
            raise ModbusFault(f"{self.endpoint} cannot be reached", line_lost=True)
        self._client = client

    def drop(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def read(self, *, unit: int, function: int, address: int, count: int, timeout_s: float) -> list[int]:
        """`count` registers from `address`. Raises ModbusFault.

        After a time-out, a short or foreign reply the connection is dropped, so that what may still come can never be
        taken for the answer to a later request.
        """
        if self._client is None:
            raise ModbusFault(f"not connected to {self.endpoint}", line_lost=True)
        request = self._client.read_input_registers if function == 4 else self._client.read_holding_registers
        try:
            async with asyncio.timeout(timeout_s):
                reply = await request(address, count=count, device_id=unit)
        except TimeoutError as error:
            self.drop()
            raise ModbusFault(f"no reply within {timeout_s:g} s", line_lost=True) from error
        except (ModbusException, OSError) as error:
            self.drop()
            raise ModbusFault(f"connection lost: {error}", line_lost=True) from error
        except asyncio.CancelledError:
            self.drop()
            raise
        if isinstance(reply, ExceptionResponse):
            code = reply.exception_code
            raise ModbusFault(
                f"exception {code}, {_EXCEPTIONS.get(code, 'unknown')}", line_lost=False, exception_code=code
            )
        if reply.isError() or reply.function_code != function or len(reply.registers) != count:
            self.drop()
            raise ModbusFault(f"{len(reply.registers)} registers instead of {count}", line_lost=True)
        return list(reply.registers)
