"""Without a word it is production, and production has no default for a secret."""

import os
from pathlib import Path

import pytest

from cloud.identity.errors import SettingsError
from cloud.identity.settings import IdentitySettings


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SEGS_")]:
        monkeypatch.delenv(name)


def test_nobody_gets_development_by_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not IdentitySettings.load().development
    monkeypatch.setenv("SEGS_ENV", "")
    assert not IdentitySettings.load().development


@pytest.mark.parametrize("home", [None, "/tmp"])
def test_production_refuses_to_start_without_keys(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """D10: also where there is a data folder."""
    if home:
        monkeypatch.setenv("SEGS_HOME", home)

    with pytest.raises(SettingsError, match=r"SEGS_KEYS .* run `segs-cloud keys create`"):
        _ = IdentitySettings.load().keys_folder


def test_development_keeps_its_keys_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGS_ENV", "development")
    monkeypatch.setenv("SEGS_HOME", str(tmp_path))
    assert IdentitySettings.load().keys_folder == tmp_path / "keys"

    monkeypatch.setenv("SEGS_KEYS", str(tmp_path / "others"))
    assert IdentitySettings.load().keys_folder == tmp_path / "others"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEGS_ENV", "dev"),
        ("SEGS_ENV", "Development"),
        ("SEGS_ACCESS_TOKEN_S", "0"),
        ("SEGS_ACCESS_TOKEN_S", "86400"),
        ("SEGS_REFRESH_TOKEN_S", "month"),
        ("SEGS_OTP_S", "-1"),
        ("SEGS_SET_PASSWORD_S", "1e9"),
    ],
)
def test_nonsense_is_told_by_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        IdentitySettings.load()
