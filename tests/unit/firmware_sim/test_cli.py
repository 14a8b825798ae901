import subprocess
import sys
from pathlib import Path


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firmware_sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_mistake_in_the_fleet_ends_with_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text("[[modbus]]\nport = 1502\n")
    done = _run("run", str(fleet))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"segs-sim: {fleet}: modbus[0].meter: is missing; add it\n"


def test_a_journal_in_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[[modbus]]\nport = 0\n[[modbus.meter]]\nname = "m"\nmodel = "abb-b23"\nunit = 1\n')
    done = _run("run", str(fleet), "--journal", str(tmp_path / "absent" / "journal"))
    assert done.returncode == 1
    assert "absent/journal: No such file or directory; make room or choose another --journal file" in done.stderr


_MODBUS = '[[modbus]]\nport = 0\n[[modbus.meter]]\nname = "m"\nmodel = "abb-b23"\nunit = 1\n'
_MQTT = '[[mqtt]]\nport = 1883\n[[mqtt.meter]]\nname = "p"\nmodel = "tasmota"\n'


def _without_paho(fleet: Path) -> subprocess.Popen[str]:
    code = "import sys; sys.modules['paho'] = None; from firmware_sim.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(fleet)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_without_its_mqtt_library_it_says_what_to_install_and_runs_modbus_meters_all_the_same(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(_MODBUS + _MQTT)
    with _without_paho(fleet) as process:
        told, errors = process.communicate(timeout=30)
    assert (process.returncode, told) == (1, "")
    assert errors == "segs-sim: meters on MQTT need paho-mqtt, which is not installed; pip install 'segs[sim]'\n"
    fleet.write_text(_MODBUS)
    with _without_paho(fleet) as process:
        try:
            assert process.stdout is not None
            assert '"event": "ready"' in process.stdout.readline()
        finally:
            process.terminate()
        assert process.wait(20) == 0
