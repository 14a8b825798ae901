"""Which model the gateway takes a simulated meter for: by its probe, by SunSpec, or by what a grid allows."""

import pytest

from edge.clock import Clock
from edge.drivers.modbus.line import Line, tcp_line
from edge.profiles import catalog
from edge.profiles.modbus import probe, sunspec
from edge.profiles.modbus.probe import Read
from edge.tools.lines.finder import Finder
from firmware_sim.models import MODBUS_MODELS


def _asked(line: Line, unit: int) -> Read:
    async def ask(*, function: int, address: int, count: int) -> bytes:
        return await line.read(unit=unit, function=function, address=address, count=count, timeout_s=2.0)

    return ask


# What tells the meter is in no source that could be had; the Janitza B23 has what all of Janitza's have, and no more.
WITHOUT_A_MARK = {"eastron-sdm54", "eastron-sdm220", "janitza-b23"}


@pytest.fixture
async def every_model(start_simulator):
    """The line to a simulator with a unit of every model, and the unit of each."""
    units = {model: unit for unit, model in enumerate(sorted(MODBUS_MODELS), 1)}
    meters = [
        f'[[modbus.meter]]\nname = "{model}"\nmodel = "{model}"\nunit = {unit}\n' for model, unit in units.items()
    ]
    port = start_simulator("seed = 7\n[[modbus]]\nport = 0\n" + "".join(meters)).ready()["modbus_ports"][0]
    async with tcp_line(host="127.0.0.1", port=port, connect_timeout_s=2.0) as line:
        await line.connect()
        yield line, units


async def test_each_model_is_recognised_by_its_probe_and_first_of_those_that_fit(every_model) -> None:
    line, units = every_model
    known = {name: catalog.modbus(name) for name in catalog.names("modbus")}
    found = {model: await probe.recognise(_asked(line, unit), known) for model, unit in units.items()}
    for model, names in found.items():
        marked = model in known and model not in WITHOUT_A_MARK
        assert names[:1] == ((model,) if marked else ()), model
    assert {name: names[1:] for name, names in found.items() if len(names) > 1} == {"wago-879-3020": ("inepro-pro380",)}


async def test_a_sunspec_meter_says_itself_which_model_it_is(every_model) -> None:
    line, units = every_model
    for model, unit in units.items():
        if model.startswith("sunspec"):
            profile = await sunspec.discover(_asked(line, unit))
            assert profile.datasheet == f"SunSpec model {model[-3:]}"
            assert profile.maker == "SEGS"


async def test_a_scan_names_every_model_and_says_where_it_only_infers(every_model) -> None:
    """E8: without a mark, voltages and frequency have to do, and other maps that would fit are named."""
    line, units = every_model
    finder = Finder(line=line, timeout_s=2.0, clock=Clock())
    found = {model: await finder.look(unit) for model, unit in units.items()}
    assert {model: item.model for model, item in found.items()} == {
        model: "sunspec" if model.startswith("sunspec") else model for model in units
    }
    guessed = {model for model, item in found.items() if item.how == "physics"}
    assert guessed == WITHOUT_A_MARK | {"chint-dtsu666", "inepro-pro380", "janitza-umg604", "orno-we517"}
    assert all("inferred from its voltages" in found[model].warnings[0] for model in guessed)
    assert "eastron-sdm630" in found["eastron-sdm54"].warnings[0]
