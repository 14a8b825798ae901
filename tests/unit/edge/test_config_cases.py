"""Each folder of cases/edge-config: a gateway.toml in, the exact errors out."""

from pathlib import Path

import pytest

from edge.config.load import load, parse, warnings
from edge.errors import ConfigError

CASES = Path(__file__).parents[2] / "cases" / "edge-config"

GOOD = """
[gateway]
name = "site-7"
data_dir = "data"
[uplink]
url = "http://127.0.0.1:8080"
key_file = "gateway.key"
[[modbus]]
host = "192.0.2.10"
  [[modbus.device]]
  id = "main"
  unit = 1
  profile = "abb-b23"
  interval_s = 0.5
[[mqtt]]
host = "192.0.2.20"
client_id = "site-7"
  [[mqtt.device]]
  id = "dual"
  profile = "tasmota"
  topic = "tele/dual/SENSOR"
  interval_s = 10
  channels = 2
"""


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_a_bad_configuration_names_every_problem_with_its_trail(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(case / "gateway.toml")
    assert str(caught.value) == (case / "error.txt").read_text().rstrip("\n")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = parse(GOOD, "gateway.toml", tmp_path)
    assert config.data_dir == tmp_path / "data"
    assert config.uplink.key_file == str(tmp_path / "gateway.key")


def test_devices_are_listed_for_registration_with_a_key_per_channel(tmp_path: Path) -> None:
    config = parse(GOOD, "gateway.toml", tmp_path)
    assert list(config.devices()) == [
        ("main", "abb-b23", 500),
        ("dual/1", "tasmota", 10_000),
        ("dual/2", "tasmota", 10_000),
    ]


@pytest.mark.parametrize("host", ['["192.0.2.10"]', "{ a = 1 }", "[[[[]]]]"])
def test_a_host_that_is_no_text_is_named(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"modbus\[0\]\.host"):
        parse(GOOD.replace('"192.0.2.10"', host), "gateway.toml", tmp_path)


@pytest.mark.parametrize("host", ["192.0.2..10", ".gateway", "a" * 70])
def test_a_host_that_can_be_none_is_named_before_anything_starts(tmp_path: Path, host: str) -> None:
    """E11"""
    with pytest.raises(ConfigError, match=r"modbus\[0\]\.host: .*no name and no address"):
        parse(GOOD.replace("192.0.2.10", host), "gateway.toml", tmp_path)


def _on_serial(path: str) -> str:
    return GOOD.replace('host = "192.0.2.10"', f'serial = "{path}"')


def test_a_number_that_is_swapped_at_a_restart_is_warned_of_with_the_link_that_is_not(tmp_path: Path) -> None:
    """E14"""
    for name, port in (("usb-A", "ttyUSB1"), ("usb-B", "ttyUSB0"), ("usb-C", "ttyACM0")):
        (tmp_path / name).symlink_to(f"/dev/{port}")
    config = parse(_on_serial("/dev/ttyUSB0"), "gateway.toml", tmp_path)
    assert list(warnings(config, by_id=tmp_path)) == [
        f"modbus[0].serial: /dev/ttyUSB0: such numbers are swapped at a restart; use {tmp_path / 'usb-B'}"
    ]


@pytest.mark.parametrize("folder", [".", "missing"])
def test_a_number_without_a_link_is_warned_of_too(tmp_path: Path, folder: str) -> None:
    """E14: what is not plugged in has none."""
    (tmp_path / "usb-A").symlink_to("/dev/ttyUSB1")
    config = parse(_on_serial("/dev/ttyUSB0"), "gateway.toml", tmp_path)
    assert [line.partition("; ")[2] for line in warnings(config, by_id=tmp_path / folder)] == [
        f"use its link in {tmp_path / folder}, once it is plugged in"
    ]


@pytest.mark.parametrize("path", ["/dev/serial/by-id/usb-A", "/dev/ttyS0", "/dev/ttyAMA0", "/dev/meters"])
def test_a_name_that_stays_is_not_warned_of(tmp_path: Path, path: str) -> None:
    """E14"""
    assert not list(warnings(parse(_on_serial(path), "gateway.toml", tmp_path), by_id=tmp_path))


def test_two_links_to_one_port_are_one_line(tmp_path: Path) -> None:
    """E10, E14"""
    for name in ("one", "other"):
        (tmp_path / name).symlink_to("/dev/ttyUSB0")
    second = _on_serial("other").partition("[[modbus]]")[2].partition("[[mqtt]]")[0].replace('"main"', '"second"')
    with pytest.raises(ConfigError, match=r"modbus\[1\]: other: already at modbus\[0\]; put its devices there"):
        parse(f"{_on_serial('one')}\n[[modbus]]{second}", "gateway.toml", tmp_path)


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999", "http://h:0", "http://h:port", "http://h/\\n"])
def test_an_address_that_can_never_be_reached_is_named_before_anything_starts(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"uplink\.url: .*no address"):
        parse(GOOD.replace("http://127.0.0.1:8080", url), "gateway.toml", tmp_path)


def test_brackets_without_end_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.toml: not TOML"):
        parse("a = " + "[" * 100_000, "gateway.toml", tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file or directory"):
        load(tmp_path / "nowhere.toml")
