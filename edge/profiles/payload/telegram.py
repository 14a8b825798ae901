"""P1 telegrams of DSMR meters (P1 Companion Standard 5.0.2, IEC 62056-21 mode D): their codes as a document."""

import re

from edge.errors import PayloadError

_LINE = re.compile(r"([0-9]{1,3}-[0-9]{1,3}:[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})((?:\([^()\r\n]*\))+)")
_GROUP = re.compile(r"\(([^()]*)\)")
_VALUE = re.compile(r"([0-9.]+)\*([A-Za-z0-9]+)")
_MAX_BYTES = 16_384


def telegram(payload: bytes) -> dict[str, object]:
    """The telegram in `payload` as `{"1-0:1.8.1": {"value": "1.2", "unit": "kWh"}, "0-0:1.0.0": "2301…W"}`.

    Codes with several values, as loggers of gas and of failures have, are left out. Raises PayloadError where the
    checksum is missing or wrong; meters before DSMR 4 send none, and only `!`.
    """
    body = payload.lstrip()
    end = body.rfind(b"!")
    if end < 0:
        raise PayloadError("a P1 telegram without its end, '!' and the checksum")
    if len(body) > _MAX_BYTES:
        raise PayloadError(f"a P1 telegram of {len(body)} bytes; {_MAX_BYTES} is the most")
    told = body[end + 1 :].strip(b"\r\n \0")
    text = body[: end + 1]
    if told or b"\n1-3:0.2.8(" in text or b"\n0-0:96.1.4(" in text:
        _check(text, told)
    document: dict[str, object] = {}
    for line in text.decode("ascii", "replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue
        groups = _GROUP.findall(match[2])
        if len(groups) != 1:
            continue
        value = _VALUE.fullmatch(groups[0])
        document.setdefault(match[1], {"value": value[1], "unit": value[2]} if value else groups[0])
    return document


def _check(text: bytes, told: bytes) -> None:
    if not re.fullmatch(rb"[0-9A-Fa-f]{4}", told):
        raise PayloadError(f"a P1 telegram with the checksum {told[:8]!r}, which is no four hexadecimal digits")
    # Who logs a telegram often strips its carriage returns, over which the meter has computed.
    found = _crc16(text)
    if found != int(told, 16) and _crc16(re.sub(rb"\r?\n", b"\r\n", text)) != int(told, 16):
        raise PayloadError(f"a P1 telegram with the checksum {told.decode()}, computed {found:04X}")


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))
