"""Where the cloud finds its databases."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloud import settings
from cloud.settings import Settings, SettingsError


def test_the_environment_names_the_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", "postgresql:///one")
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", "postgresql:///two")

    assert (Settings().domain, Settings().telemetry) == ("postgresql:///one", "postgresql:///two")


def test_without_names_and_without_local_servers_the_message_says_which_variables_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEGS_TELEMETRY_DSN", raising=False)
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    settings._local.cache_clear()

    with pytest.raises(SettingsError, match="set SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN"):
        _ = Settings().telemetry


def test_an_installed_release_without_names_makes_no_database_of_its_own(tmp_path: Path) -> None:
    """A host that forgot its settings would hand out keys that no receiver knows."""
    root = Path(__file__).parents[3]
    for package in ("cloud", "contract", "local"):
        (tmp_path / package).symlink_to(root / package)
    (tmp_path / "sql").symlink_to(root / "sql")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGS_")}

    done = subprocess.run(
        [sys.executable, "-m", "cloud", "gateway", "list"],
        env=environment | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "set SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN" in done.stderr
    assert not (tmp_path / ".segs").exists()
