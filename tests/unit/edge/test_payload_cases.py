"""Each folder of cases/profiles with a message: what its payload says, or one line of error.

`message.json` has the profile, the topic and `payload` (a document), `raw` (text) or `hex` (bytes); if need be `now`,
`timezone`, `fields` as in a configuration, and `before`, messages that the device published earlier.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge.errors import PayloadError
from edge.profiles import catalog
from edge.profiles.payload.decode import PayloadDecoder
from edge.profiles.payload.said import Said
from edge.profiles.payload.settings import DeviceFields

CASES = Path(__file__).parents[2] / "cases" / "profiles"
_NOW = "2026-03-01T12:00:05+00:00"


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def _cases(file: str) -> list[Path]:
    found = sorted(path.parent for path in CASES.glob("*/message.json") if (path.parent / file).exists())
    assert found, f"no case with message.json and {file}"
    return found


def _payload(message: dict[str, Any]) -> bytes:
    if "hex" in message:
        return bytes.fromhex(message["hex"])
    return message["raw"].encode() if "raw" in message else json.dumps(message["payload"]).encode()


def _said(case: Path) -> Said:
    given = json.loads((case / "message.json").read_text())
    fields = DeviceFields.model_validate(given.get("fields", {}))
    profile = catalog.mqtt(given["profile"])
    profile.check(fields)
    decoder = PayloadDecoder(profile, ZoneInfo(given.get("timezone", "UTC")), fields, given.get("filter", "#"))
    now_us = us(given.get("now", _NOW))
    for message in given.get("before", []):
        decoder.decode(message.get("topic", given["topic"]), _payload(message), now_us)
    return decoder.decode(given["topic"], _payload(given), now_us)


@pytest.mark.parametrize("case", _cases("expected.json"), ids=lambda case: case.name)
def test_messages_become_the_expected_channels(case: Path) -> None:
    """E6, E15: scalars and arrays, strings, nulls, unconnected phases, units, clocks."""
    said = _said(case)
    expected = json.loads((case / "expected.json").read_text())
    assert {str(channel or ""): values for channel, values in said.channels.items()} == {
        channel: pytest.approx(values) for channel, values in expected["channels"].items()
    }
    assert said.time_us == (None if expected.get("time") is None else us(expected["time"]))
    assert list(said.skipped) == expected.get("skipped", [])
    for flag in ("partial", "offline", "needs_rebirth", "ignored"):
        assert getattr(said, flag) == expected.get(flag, False), flag


@pytest.mark.parametrize("case", _cases("error.txt"), ids=lambda case: case.name)
def test_messages_that_cannot_be_read_say_why(case: Path) -> None:
    """E13"""
    with pytest.raises(PayloadError) as caught:
        _said(case)
    assert str(caught.value) == (case / "error.txt").read_text().strip()
