"""The parts that payload profiles are made of: topics, paths, numbers, and what a configuration may say of a device."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.profiles import catalog
from edge.profiles.payload.number import NotANumber, measured
from edge.profiles.payload.path import EACH, at, steps
from edge.profiles.payload.settings import DeviceFields
from edge.profiles.payload.telegram import _crc16
from edge.profiles.payload.topic import compiled


@pytest.mark.parametrize(
    ("pattern", "topic", "found"),
    [
        ("#", "a/b", {}),
        ("#/SENSOR", "SENSOR", {}),
        ("#/SENSOR", "tele/plug/SENSOR", {}),
        ("#/SENSOR", "tele/plug/SENSOR/x", None),
        ("#/SENSOR", "tele/plug/XSENSOR", None),
        ("shellies/{device}/emeter/{channel}/{field}", "shellies/x/emeter/1/power",
         {"device": "x", "channel": "1", "field": "power"}),
        ("shellies/{device}/emeter/{channel}/{field}", "shellies/x/emeter/one/power", None),
        ("#/POWER{n}", "stat/x/POWER12", {"n": "12"}),
        ("a/+/b", "a/x/b", {}),
        ("a/+/b", "a/x/y/b", None),
        ("a/#", "a", {}),
        ("a/#", "a/b/c", {}),
        ("a/#", "ab", None),
        ("#/cmnd/#", "cmnd/x", {}),
        ("#/cmnd/#", "x/cmnd", {}),
        ("a.b", "axb", None),
    ],
)  # fmt: skip
def test_a_topic_pattern_names_levels(pattern: str, topic: str, found: dict[str, str] | None) -> None:
    match = compiled(pattern).fullmatch(topic)
    assert (None if match is None else match.groupdict()) == found


@pytest.mark.parametrize("pattern", ["", "a//b", "a/b#", "a/+b", "a/{B}", "a/{b", "#/#/#"])
def test_a_broken_topic_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"level|twice"):
        compiled(pattern)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", ("a", "b")),
        ("$.a.b", ("a", "b")),
        ("a[0].b", ("a", 0, "b")),
        ("a[*].b", ("a", EACH, "b")),
        ("[1]", (1,)),
        ('["a.b"].c', ("a.b", "c")),
        ('a["b c"][2]', ("a", "b c", 2)),
        ('["a\\"b"]', ('a"b',)),
        ("total energy.in", ("total energy", "in")),
    ],
)
def test_a_path_is_its_steps(path: str, found: tuple[str | int, ...]) -> None:
    assert steps(path) == found


@pytest.mark.parametrize("path", ["", "$", "a..b", ".", "a[", "a[-1]", "a[x]", "a[*].b[*]", 'a["b', "a]b", "a[0]b"])
def test_a_broken_path_says_where(path: str) -> None:
    with pytest.raises(ValueError, match=r"character \d+|empty path|more than once"):
        steps(path)


def test_a_path_leads_to_nothing_without_an_error() -> None:
    document = {"a": [{"b": 1}, {"c": 2}], "d": "text"}
    assert at(document, steps("a[*].b")) == [1, None]
    assert at(document, steps("a[7].b")) is None
    assert at(document, steps("d.e")) is None
    assert at(document, steps("d[0]")) is None
    assert at(document, steps("a.b")) is None


@pytest.mark.parametrize(
    ("written", "power_w"),
    [
        (5, 5000), (5.5, 5500), ("5", 5000), (" 5.5\t", 5500), ("5,5", 5500), ("0,125", 125), ("1234,567", 1234567),
        ("1e3", 1e6), ("+.5", 500), ("-5", -5000), ("5 W", 5), ("5W", 5), ("5 kW", 5000), ("5 mW", 0.005),
        ("5 MW", 5e6), ({"value": "5", "unit": "W"}, 5), ([{"value": 5, "unit": "kW"}], 5000), ({"value": 5}, 5000),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_are_written(written: object, power_w: float) -> None:
    """E15: a bare number is in the profile's unit, kW here, one with a unit in that."""
    assert measured(written, "power_w", 1000) == pytest.approx(power_w)


@pytest.mark.parametrize("written", [None, "", " ", "nan", "NaN", "-", "n/a", "unavailable", "Infinity", float("nan")])
def test_what_says_that_there_is_no_value_is_absent(written: object) -> None:
    """E6: and never 0."""
    assert measured(written, "power_w", 1) is None


@pytest.mark.parametrize(
    "written",
    [True, False, {}, [], [1, 2], "1,234", "1.2.3", "12,3,4", "five", "5 V", "5 parsec", "0x10", "1_000", 10**30],
)
def test_what_is_no_number_is_refused(written: object) -> None:
    """E15"""
    with pytest.raises(NotANumber):
        measured(written, "power_w", 1)


@settings(deadline=None)
@given(st.text() | st.integers() | st.floats() | st.lists(st.none()) | st.dictionaries(st.text(), st.integers()))
def test_whatever_is_written_is_a_number_absent_or_refused(written: object) -> None:
    try:
        value = measured(written, "power_w", 1)
    except NotANumber as error:
        assert len(str(error)) < 120  # noqa: PT017 # any of three ends is right
        return
    assert value is None or -1e30 < value < 1e30


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"fields": [{"quantity": "power_kw", "path": "p"}]}, "unknown quantity 'power_kw'"),
        ({"fields": [{"quantity": "power_w", "path": "p", "scale": 0}]}, "a scale of 0 makes every value 0"),
        ({"fields": [{"quantity": "power_w", "path": "p"}, {"quantity": "power_w", "path": "q"}]}, "power_w twice"),
        ({"time_format": "unix"}, "time_format without time_path"),
        ({"time_path": "a[*].t"}, r"has \[\*\] in it"),
        ({"channels_path": "m", "fields": [{"quantity": "power_w", "path": "p", "channel": 1}]}, "channels_path and"),
        ({"fields": [{"quantity": "power_w", "path": "p", "factor": 2}]}, "Extra inputs"),
    ],
)
def test_a_device_cannot_have_fields_that_contradict(table: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        DeviceFields.model_validate(table)


def test_a_profile_says_which_fields_a_device_of_it_needs_or_cannot_have() -> None:
    with pytest.raises(ValueError, match="no fields of its own"):
        catalog.mqtt("json").check(None)
    with pytest.raises(ValueError, match="for JSON"):
        catalog.mqtt("esphome").check(DeviceFields.model_validate({"time_path": "t"}))
    with pytest.raises(ValueError, match="is no path from its character 2"):
        catalog.mqtt("tasmota").check(
            DeviceFields.model_validate({"fields": [{"quantity": "power_w", "path": "a..b"}]})
        )
    catalog.mqtt("esphome").check(DeviceFields.model_validate({"fields": [{"quantity": "power_w", "path": "a..b"}]}))


def test_the_checksum_of_telegrams_is_the_standard_one() -> None:
    """CRC-16/ARC has this check value in the catalogue of parametrised CRC algorithms."""
    assert _crc16(b"123456789") == 0xBB3D
