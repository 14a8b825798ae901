"""What a reader of the pages has: a checkout, a data folder, a meter, a plug and a broker."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.servers import MosquittoBroker, free_port, locate_postgres, segs_home
from local.service import Service
from local.stack import Stack
from tests.docs.pages import ROOT
from tests.docs.reader import Reader, environment
from tests.docs.shell import Shell

# What the pages say of real hardware: a broker with a plug, an energy meter and a node behind it. Modbus meters are the
# pages' own, from their fleet.toml.
_FLEET = """
[[mqtt]]
host = "127.0.0.1"
port = {broker}
  [[mqtt.meter]]
  name = "plug-kitchen"
  model = "tasmota"
  interval_s = 2.0
  [[mqtt.meter]]
  name = "shelly-garage"
  model = "shelly-gen2"
  interval_s = 2.0
  energy_interval_s = 2.0
  [[mqtt.meter]]
  name = "boiler-room"
  model = "esphome"
  interval_s = 2.0
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder for all pages; whatever runs in it is stopped after the last, and takes no time from other tests.

    Fetched servers are shared.
    """
    home = tmp_path_factory.mktemp("docs")
    cache = segs_home() / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (home / "cache").symlink_to(cache)
    try:
        yield home
    finally:
        Stack(home=home).stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def instead(home: Path) -> Iterator[list[tuple[str, str]]]:
    """What is here for the addresses on the pages: simulated meters, and ports that are free."""
    meter = free_port()
    with MosquittoBroker(data_dir=home / "field-broker", bound_to_parent=True) as broker:
        fleet = home / "pages-fleet.toml"
        fleet.write_text(_FLEET.format(broker=broker.port))
        program = environment(home, home)["PATH"].split(":")[0] + "/segs-sim"
        simulator = Service(
            name="pages-meters", argv=[program, "run", str(fleet)], environment=dict[str, str], home=home
        )
        simulator.start()
        try:
            yield [
                ('host = "192.0.2.10"\nport = 502\n', f'host = "127.0.0.1"\nport = {meter}\n'),
                ("port = 1502", f"port = {meter}"),
                ("--port 1502", f"--port {meter}"),
                ("--port 1503", f"--port {free_port()}"),
                ('host = "192.0.2.20"\nport = 1883\n', f'host = "127.0.0.1"\nport = {broker.port}\n'),
                ("127.0.0.1:8080", f"127.0.0.1:{(receiver := free_port())}"),
                ("--port 8080", f"--port {receiver}"),
                ("127.0.0.1:2525", f"127.0.0.1:{(post := free_port())}"),
                ("SMTP_PORT=2525", f"SMTP_PORT={post}"),
                ("--metrics-port 9471", f"--metrics-port {free_port()}"),
                ("port = 9464", f"port = {free_port()}"),
                ("port = 9465", f"port = {free_port()}"),
            ]
        finally:
            simulator.stop()


@pytest.fixture
def reader(home: Path, instead: list[tuple[str, str]], tmp_path: Path) -> Iterator[Reader]:
    """A reader in a checkout of their own: links to ours, so that what a page writes stays out of it."""
    checkout, notes = tmp_path / "segs", tmp_path / "notes"
    for folder in (checkout, notes):
        folder.mkdir()
    for entry in ROOT.iterdir():
        if not entry.name.startswith("."):
            (checkout / entry.name).symlink_to(entry)
    surroundings = environment(home, locate_postgres().bin_dir)
    (checkout / ".segs").symlink_to(home)
    (checkout / ".venv").symlink_to(Path(surroundings["PATH"].split(":")[0]).parent)
    with Shell(folder=checkout, notes=notes, environment=surroundings) as shell:
        yield Reader(shell=shell, instead=instead, home=home)
