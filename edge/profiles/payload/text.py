"""Payloads as JSON documents, with the liberties that firmware takes."""

import json
import re

import msgspec

from edge.errors import PayloadError

_BOM = b"\xef\xbb\xbf"
# A string, ended or not, kept as it is; or a bare word for "no number" that C libraries print and JSON does not know.
_BARE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|(?<![\w.])[+-]?(?:nan|inf|infinity)\b(?:\((?:ind|snan)\))?', re.I | re.S)


def parsed(payload: bytes) -> object:
    """The JSON value in `payload`: a BOM, NULs at the end and bare NaNs are passed over. Raises PayloadError."""
    try:
        return msgspec.json.decode(payload)
    except RecursionError as error:
        raise PayloadError("nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _liberally(payload, error)


def _liberally(payload: bytes, first: msgspec.DecodeError | UnicodeDecodeError) -> object:
    if payload[:2] in (b"\xff\xfe", b"\xfe\xff") or payload[1:2] == b"\0" or payload[:1] == b"\0":
        raise PayloadError("not JSON in UTF-8: it looks like UTF-16")
    text = payload.removeprefix(_BOM).rstrip(b"\0 \t\r\n")
    if not text:
        raise PayloadError("an empty payload")
    text = _BARE.sub(lambda match: match[0] if match[0][:1] == b'"' else b"null", text)
    try:
        # The library's own reader has infinities for numbers out of range, which concern their fields alone.
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise PayloadError("nested too deeply") from error
    except ValueError as error:
        # What was wrong with the payload as it came is what its sender can use.
        raise PayloadError(f"not JSON: {first}") from error
