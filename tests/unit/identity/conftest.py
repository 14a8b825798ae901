"""A folder of keys, and one instant at which everything happens."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.identity.keys import KeyFolder, create

NOW = datetime(2026, 11, 28, 8, 8, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    create(path, now=NOW)
    return path


@pytest.fixture
def folder(path: Path) -> KeyFolder:
    return KeyFolder(path)
