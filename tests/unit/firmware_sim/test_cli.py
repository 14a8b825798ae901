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
