"""`segs-cloud tariff rate`, on a server of this test run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud.cli import app

Rate = Callable[[Path, Path], dict[str, Any]]


@pytest.fixture
def rate(domain_db: str, monkeypatch: pytest.MonkeyPatch) -> Rate:
    """Files in, the answer out."""
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db)

    def run(tariff: Path, intervals: Path) -> dict[str, Any]:
        result = CliRunner().invoke(
            app, ["tariff", "rate", "--tariff", str(tariff), "--intervals", str(intervals), "--json"]
        )
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    return run
