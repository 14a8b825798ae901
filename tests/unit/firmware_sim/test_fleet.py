from pathlib import Path

import pytest

from firmware_sim.errors import FleetError
from firmware_sim.fleet import Fleet, load

GOOD = """
seed = 7
[[modbus]]
port = 1502
[[modbus.meter]]
name = "sdm"
model = "eastron-sdm630"
unit = 1
[[mqtt]]
port = 1883
[[mqtt.meter]]
name = "plug"
model = "tasmota"
interval_s = 1.0
"""


def _load(tmp_path: Path, text: str) -> Fleet:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    return load(file)


def test_a_fleet_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    fleet = _load(tmp_path, GOOD)
    assert [meter.name for meter in fleet.meters()] == ["sdm", "plug"]
    assert (fleet.modbus[0].host, fleet.modbus[0].meter[0].peak_w) == ("127.0.0.1", 6000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'model = "eastron-sdm630"',
            'model = "abb-b21"\nphases = 3',
            "modbus[0].meter[0]: abb-b21 measures one phase; leave phases out",
        ),
        ("seed = 7", "sead = 7", "fleet.toml: sead: no such key; remove or correct it"),
        ("unit = 1", "", "fleet.toml: modbus[0].meter[0].unit: is missing; add it"),
        ("unit = 1", "unit = 300", "modbus[0].meter[0].unit: 300; input should be less than or equal to 247"),
        ("eastron-sdm630", "eastron", "modbus[0].meter[0].model: there is no 'eastron'; use one of "),
        ('"plug"', '"sdm"', "fleet.toml: the name 'sdm' is used 2 times; give every meter its own"),
        ('"plug"', '"a plug"', "mqtt[0].meter[0].name: 'a plug'; use 1 to 96 letters"),
        ("interval_s = 1.0", "interval_s = 1.5", "too fine for the clock of tasmota; use multiples of 1 s"),
        ("interval_s = 1.0", "pv_peak_w = 5", "has no export register; leave pv_peak_w out"),
        ("port = 1502", "port = ", "fleet.toml: Invalid value"),
        ("port = 1502", "port = 70000", "modbus[0].port: 70000; input should be less"),
        ("port = 1502", 'pty = "/tmp/line"', "modbus[0]: transport tcp listens on a port; give port, and neither pty"),
        ("port = 1502", 'transport = "rtu"\nport = 1', "transport rtu is a pseudo-terminal; give pty, and no port"),
        ("port = 1502", 'transport = "tls"\nport = 1', "transport tls and the table tls belong together; give both"),
        (
            "unit = 1",
            'unit = 1\nfault = [{ kind = "tired" }]',
            "fault[0].kind: there is no 'tired'; use one of",
        ),
        (
            "unit = 1",
            'unit = 1\nfault = [{ kind = "stuck", quantity = "power" }]',
            "fault[0].quantity: there is no 'power'; use one of power_w, power_l1_w",
        ),
        (
            "unit = 1",
            'unit = 1\nfault = [{ kind = "crc" }]',
            "Modbus TCP has no CRC; use transport rtu or",
        ),
        (
            "port = 1502",
            'port = 1502\nfault = [{ kind = "nan" }]',
            "nan happens to a meter; move it to the",
        ),
        ("interval_s = 1.0", 'fault = [{ kind = "timeout" }]', "timeout is for Modbus meters; use another kind"),
        (
            "interval_s = 1.0",
            'fault = [{ kind = "voltage", phase = 2 }]',
            "mqtt[0]: tasmota has no voltage_l2_v, so no voltage; use a model that has, or another kind",
        ),
        (
            "[[mqtt]]",
            '[[modbus.meter]]\nname="b"\nmodel="abb-b23"\nunit=1\n[[mqtt]]',
            "modbus[0].meter: unit 1 is used 2 times; give every meter of an endpoint its own unit",
        ),
        (
            "[[mqtt]]",
            '[[modbus]]\nport=1502\n[[modbus.meter]]\nname="b"\nmodel="abb-b23"\nunit=1\n[[mqtt]]',
            "127.0.0.1:1502 is used 2 times; put its meters into one",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_what_was_found_and_what_to_do(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(FleetError) as failed:
        _load(tmp_path, GOOD.replace(old, new))
    assert message in str(failed.value)


def test_a_fleet_without_meters_and_a_file_that_is_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"no meters; add a \[\[modbus\]\]"):
        _load(tmp_path, "seed = 1")
    with pytest.raises(FleetError, match="No such file or directory; name a fleet file"):
        load(tmp_path / "absent.toml")
