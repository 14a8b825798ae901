"""A serial line without the wire: RTU frames on a pseudo-terminal, as slow as the line would be."""

import asyncio
import os
import termios
import tty
from pathlib import Path
from types import TracebackType

from firmware_sim.errors import EndpointError
from firmware_sim.modbus.answer import Bus
from firmware_sim.modbus.conversation import Conversation
from firmware_sim.modbus.endpoint import Endpoint
from firmware_sim.modbus.framing import RtuFraming

_READ_BYTES = 4096
_SPEEDS = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if name.startswith("B") and name[1:].isdigit()
}


class PtyEndpoint(Endpoint):
    """`bus` on a pseudo-terminal that `path` becomes a symbolic link to. Raises EndpointError when that cannot be.

    With a `baud_rate` every character of request and reply takes its time (11 bits), and a client that has set its port
    to another speed is not understood. Parity is not looked at: pseudo-terminals have none.
    """

    def __init__(self, *, path: Path, bus: Bus, baud_rate: int | None = None, silence_s: float = 0.0) -> None:
        super().__init__()
        self.place = str(path)
        self._path, self._bus, self._baud_rate, self._silence_s = path, bus, baud_rate, silence_s
        self._ours = self._theirs = -1
        self._conversation: Conversation | None = None

    async def __aenter__(self) -> "PtyEndpoint":
        self._ours, self._theirs = os.openpty()
        # Kept open: with the last client gone, reading our end would be an error instead of silence.
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        try:
            if self._path.is_symlink() and _of_a_terminal(self._path):
                # Left behind by a simulator that was killed, or another's: then it is the newer one's.
                self._path.unlink()
            self._path.symlink_to(os.ttyname(self._theirs))
        except OSError as error:
            os.close(self._ours)
            os.close(self._theirs)
            raise EndpointError(place=self.place, found=error.strerror or str(error)) from error
        self._conversation = Conversation(
            bus=self._bus,
            framing=RtuFraming(),
            wire=self,
            fail=self.fail,
            bit_s=1 / self._baud_rate if self._baud_rate else 0.0,
            silence_s=self._silence_s,
        )
        asyncio.get_running_loop().add_reader(self._ours, self._readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._conversation is not None
        asyncio.get_running_loop().remove_reader(self._ours)
        self._conversation.ended()
        # Another simulator may have taken the path.
        if self._path.is_symlink() and os.readlink(self._path) == os.ttyname(self._theirs):
            self._path.unlink()
        os.close(self._ours)
        os.close(self._theirs)

    def write(self, data: bytes) -> None:
        """Nobody reading is no error: on a line the bytes are gone."""
        try:
            os.write(self._ours, data)
        except BlockingIOError:
            termios.tcflush(self._theirs, termios.TCIFLUSH)

    def close(self) -> None:
        """A line has nothing to close."""

    def abort(self) -> None:
        """A line has nothing to abort."""

    def is_closing(self) -> bool:
        return False

    def _readable(self) -> None:
        assert self._conversation is not None
        try:
            data = os.read(self._ours, _READ_BYTES)
        except BlockingIOError:
            return
        if self._baud_rate is None or _SPEEDS.get(termios.tcgetattr(self._theirs)[4]) == self._baud_rate:
            self._conversation.received(data)


def _of_a_terminal(link: Path) -> bool:
    """Whether `link` leads to a pseudo-terminal or to nothing: any other is somebody's own."""
    target = Path(os.path.realpath(link))
    return target.is_relative_to("/dev/pts") or not target.exists()
