"""Each folder of cases/edge-config: a gateway.toml in, the exact errors out."""

from importlib import resources
from pathlib import Path

import pytest

from edge.config.files import password, unusable
from edge.config.load import load, parse
from edge.config.warnings import warnings
from edge.drivers.mqtt.connection import Login
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


def _mounted(mount: object) -> str:
    return GOOD.replace("[[modbus]]", f'[buffer]\nmount = "{mount}"\n[[modbus]]', 1)


def test_a_mount_is_warned_of_while_nothing_is_mounted_there(tmp_path: Path) -> None:
    config = parse(_mounted("."), "gateway.toml", tmp_path)
    assert config.buffer.mount == str(tmp_path)
    assert list(warnings(config)) == [
        f"buffer.mount: {tmp_path}: nothing is mounted there; readings wait in memory until the disk is"
    ]
    assert not list(warnings(parse(_mounted("/"), "gateway.toml", tmp_path)))


def test_more_room_to_leave_than_the_disk_has_is_warned_of(tmp_path: Path) -> None:
    """E20: readings are reduced from the first one on, on a disk that never was full."""
    text = GOOD.replace("[[modbus]]", f"[buffer]\nmin_free_bytes = {10**18}\n[[modbus]]", 1)
    [warning] = warnings(parse(text, "gateway.toml", tmp_path))
    assert warning.startswith(f"buffer.min_free_bytes: {10**18}: the disk of {tmp_path / 'data'} has ")
    assert warning.endswith(" bytes free, so readings would be reduced at once; make room, or set it lower")


def test_a_data_folder_that_is_a_link_to_the_mount_lies_under_it(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "card")
    (tmp_path / "other").symlink_to(tmp_path / "card")
    assert parse(_mounted("other"), "gateway.toml", tmp_path).buffer.mount == str(tmp_path / "card")


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


_OWN = {"modbus": '"abb-b23"', "mqtt": '"tasmota"'}


@pytest.mark.parametrize("kind", _OWN)
def test_a_profile_of_ones_own_is_looked_for_beside_the_file_and_its_mistakes_have_a_trail(
    tmp_path: Path, kind: str
) -> None:
    text = GOOD.replace(_OWN[kind], '"./own.toml"')
    with pytest.raises(ConfigError) as missing:
        parse(text, "gateway.toml", tmp_path)
    [line] = missing.value.problems
    assert line.startswith(f"gateway.toml: {kind}[0].device[0].profile: {tmp_path}/own.toml: No such file")
    (tmp_path / "own.toml").write_text(f'kind = "{kind}"\n')
    with pytest.raises(ConfigError) as wrong:
        parse(text, "gateway.toml", tmp_path)
    assert all(
        line.startswith(f"gateway.toml: {kind}[0].device[0].profile: {tmp_path}/own.toml: ")
        for line in wrong.value.problems
    )


def _shipped(kind: str, name: str) -> str:
    folder = {"modbus": "meters", "mqtt": "payloads"}[kind]
    return resources.files("edge.profiles").joinpath(folder, f"{name}.toml").read_text("utf-8")


def test_a_profile_of_ones_own_works_from_any_folder_and_is_registered_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "plug.toml").write_text(_shipped("mqtt", "tasmota"))
    (tmp_path / "meter.toml").write_text(_shipped("modbus", "abb-b23"))
    text = GOOD.replace('"tasmota"', '"./plug.toml"').replace('"abb-b23"', '"./meter.toml"')
    config = parse(text, "gateway.toml", tmp_path)
    assert config.mqtt[0].device[0].profile == str(tmp_path / "plug.toml")
    assert {model for _, model, _ in config.devices()} == {"plug", "meter"}


def test_what_a_profile_of_ones_own_needs_beside_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(_shipped("mqtt", "json"))
    with pytest.raises(ConfigError, match=r"gateway\.toml: mqtt\[0\]\.device\[0\]: .*list the device's under fields"):
        parse(GOOD.replace('"tasmota"', '"./own.toml"'), "gateway.toml", tmp_path)


def _second_broker(more: str) -> str:
    _, _, broker = GOOD.partition("[[mqtt]]")
    broker = broker.replace("192.0.2.20", "192.0.2.21").replace("site-7", "other").replace('"dual"', '"second"')
    return f"{GOOD}\n[[mqtt]]\n{more}{broker}"


def test_files_that_are_not_there_are_named_with_the_number_of_their_table(tmp_path: Path) -> None:
    text = _second_broker('username = "segs"\npassword_file = "secret"\ntls = { ca_file = "ca.pem" }\n')
    assert list(unusable(parse(text, "gateway.toml", tmp_path))) == [
        f"mqtt[1].tls.ca_file: {tmp_path}/ca.pem: No such file or directory; name a file of PEM certificates",
        f"mqtt[1].password_file: {tmp_path}/secret: No such file or directory; name a readable file",
    ]


def test_a_password_that_only_the_running_service_has_is_not_missed(tmp_path: Path) -> None:
    text = _second_broker('username = "segs"\npassword_file = "/run/credentials/segs-edge.service/password"\n')
    assert not list(unusable(parse(text, "gateway.toml", tmp_path)))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_keeps_its_blanks_and_loses_one_line_end(tmp_path: Path, end: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(f" two words \t{end}".encode())
    assert password(str(file), "mqtt[0].password_file") == " two words \t"


@pytest.mark.parametrize(
    ("host", "tls", "warned"),
    [
        ("192.0.2.21", "", True),
        ("broker.example", "", True),
        ("192.0.2.21", "tls = {}\n", False),
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("localhost", "", False),
    ],
)
def test_a_password_in_the_clear_is_warned_of(tmp_path: Path, host: str, tls: str, warned: bool) -> None:
    text = _second_broker(f'username = "segs"\npassword_file = "secret"\n{tls}').replace("192.0.2.21", host)
    expected = ["mqtt[1].password_file: the password goes over the network as it is; add tls"] if warned else []
    assert list(warnings(parse(text, "gateway.toml", tmp_path))) == expected


@pytest.mark.parametrize(
    ("url", "warned"),
    [("http://segs.example:8080", True), ("https://segs.example", False), ("http://[::1]:8080", False)],
)
def test_a_gateways_key_in_the_clear_is_warned_of(tmp_path: Path, url: str, warned: bool) -> None:
    config = parse(GOOD.replace("http://127.0.0.1:8080", url), "gateway.toml", tmp_path)
    expected = [f"uplink.url: {url}: the gateway's key goes over the network as it is; use https"] if warned else []
    assert list(warnings(config)) == expected


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o602, True), (0o640, False), (0o600, False)])
def test_a_secret_that_every_user_may_read_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    key = tmp_path / "gateway.key"
    key.touch()
    key.chmod(mode)
    found = list(warnings(parse(GOOD, "gateway.toml", tmp_path)))
    expected = (
        f"uplink.key_file: {key}: every user of this machine may read or change it (mode {mode:o}); chmod o= {key}"
    )
    assert found == ([expected] if warned else [])


def test_a_login_does_not_show_its_password() -> None:
    login = Login(host="h", port=1, client_id="c", username="u", password="hidden")
    assert "hidden" not in f"{login!r} {login}"
    assert "h:1" in repr(login)
