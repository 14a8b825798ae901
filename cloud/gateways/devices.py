"""The CSV file that registers devices."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cloud.command import DEFAULT_MAX_POWER_W
from cloud.errors import InputError

_REQUIRED = ("device", "model", "interval_ms")
_OPTIONAL = ("region", "timezone", "max_power_w", "serial", "meter_code")


class DeviceFileError(InputError):
    """A file that cannot be imported; `where` is file, line and column."""

    def __init__(self, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where = where


@dataclass(frozen=True, slots=True)
class Device:
    """What a registration needs. `interval_ms` in milliseconds, `max_power_w` in W, `timezone` an IANA name."""

    device: str
    model: str
    region: str
    timezone: str
    interval_ms: int
    max_power_w: float
    serial: str | None = None
    meter_code: str | None = None

    @property
    def parameters(self) -> dict[str, object]:
        return asdict(self)


def read_devices(file: Path, *, region: str | None, timezone: str) -> list[Device]:
    """The rows of `file`; `region` and `timezone` stand where a row has none.

    Raises DeviceFileError for the first thing that is wrong.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, strict=True)
            heading = rows.fieldnames or []
            _check_heading(file, heading)
            found = [_device(f"{file}:{rows.line_num}", row, region, timezone) for row in rows]
    except OSError as error:
        raise DeviceFileError(str(file), error.strerror or str(error), "name a file that can be read") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DeviceFileError(str(file), str(error), "give a CSV file in UTF-8") from error
    seen: dict[str, int] = {}
    for number, device in enumerate(found, start=2):
        if device.device in seen:
            where = f"{file}:{number}: device"
            raise DeviceFileError(where, f"{device.device!r} is in line {seen[device.device]} too", "keep one of them")
        seen[device.device] = number
    return found


def _check_heading(file: Path, heading: Sequence[str]) -> None:
    for name in _REQUIRED:
        if name not in heading:
            todo = f"the columns {', '.join(_REQUIRED)} have to be there, with commas between them"
            raise DeviceFileError(f"{file}:1", f"no column {name!r} in '{','.join(heading)}'", todo)
    for name in heading:
        if name not in _REQUIRED + _OPTIONAL:
            todo = f"remove it; optional columns are {', '.join(_OPTIONAL)}"
            raise DeviceFileError(f"{file}:1", f"unknown column {name!r}", todo)


def _device(where: str, row: dict[str | None, str | None], region: str | None, timezone: str) -> Device:
    if None in row or None in row.values():
        raise DeviceFileError(where, "another number of cells than the heading", "give one cell per column")
    cells = {str(name): (cell or "").strip() for name, cell in row.items()}
    for name in _REQUIRED:
        if not cells[name]:
            raise DeviceFileError(f"{where}: {name}", "an empty cell", "fill it in")
    region = cells.get("region") or region
    if region is None:
        raise DeviceFileError(f"{where}: region", "no region", "add a column region, or give --region")
    return Device(
        device=cells["device"],
        model=cells["model"],
        region=region,
        timezone=cells.get("timezone") or timezone,
        interval_ms=int(_number(f"{where}: interval_ms", cells["interval_ms"])),
        max_power_w=_number(f"{where}: max_power_w", cells.get("max_power_w") or str(DEFAULT_MAX_POWER_W)),
        serial=cells.get("serial") or None,
        meter_code=cells.get("meter_code") or None,
    )


def _number(where: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = 0.0
    if not 0 < number < 2**31:
        raise DeviceFileError(where, repr(cell), "give a number greater than 0")
    return number
