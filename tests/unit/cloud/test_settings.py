"""Where the cloud finds its databases."""

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
