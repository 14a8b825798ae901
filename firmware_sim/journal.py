"""The journal: one JSON line per served response or published message, written before it is sent."""

import os
from pathlib import Path

import msgspec

from firmware_sim.errors import JournalError

Values = dict[str, int | float]


class Journal:
    """Appends to `path`, one write per line, so that what was served is known after a kill -9 too.

    A context manager. Without a path it keeps nothing. With `acknowledgements` it has a line for each of the broker's
    too. Raises JournalError when a line cannot be written whole.
    """

    def __init__(self, path: Path | None, *, acknowledgements: bool = False) -> None:
        self._path, self._acknowledgements = path, acknowledgements
        self._encoder = msgspec.json.Encoder()
        self._file: int | None = None

    def __enter__(self) -> "Journal":
        if self._path is not None:
            try:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                raise JournalError(path=str(self._path), found=str(error.strerror)) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def served(self, *, t_us: int, meter: str, values: Values) -> None:
        """A Modbus response with `values` is about to be sent."""
        self._write({"t_us": t_us, "meter": meter, "kind": "modbus", "values": values})

    def published(self, *, t_us: int, meter: str, seq: int, device_time_us: int | None, values: Values) -> None:
        """Message `seq` of `meter` is about to be handed to the MQTT client, which keeps it until the broker has it."""
        line: dict[str, object] = {"t_us": t_us, "meter": meter, "kind": "mqtt", "seq": seq}
        self._write(line | {"device_time_us": device_time_us, "values": values})

    def acknowledged(self, *, t_us: int, meter: str, seq: int) -> None:
        """The broker has message `seq` of `meter`: the simulator forgets it."""
        if self._acknowledgements:
            self._write({"t_us": t_us, "meter": meter, "kind": "acknowledged", "seq": seq})

    def withdrawn(self, *, t_us: int, meter: str, seq: int) -> None:
        """Message `seq` was not taken, or the simulator ends without the broker's word: perhaps nobody saw it."""
        self._write({"t_us": t_us, "meter": meter, "kind": "unacknowledged", "seq": seq})

    def _write(self, line: dict[str, object]) -> None:
        if self._file is None:
            return
        data = self._encoder.encode(line) + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise JournalError(path=str(self._path), found=str(error.strerror)) from error
        if written != len(data):
            raise JournalError(path=str(self._path), found=f"only {written} of {len(data)} bytes were written")
