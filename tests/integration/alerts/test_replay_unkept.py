"""A replay of what is not kept says so: no alerts of nothing is no answer."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from cloud.alerts.cli import app
from cloud.alerts.replay import ReplayError
from tests.integration.alerts.conftest import DAY, HOUR, NOON, World

Replay = Callable[..., Result]


@pytest.fixture
def replay(world: World, monkeypatch: pytest.MonkeyPatch) -> Replay:
    monkeypatch.setenv("SEGS_DOMAIN_DSN", world.domain_dsn)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", world.telemetry_dsn)
    world.minutes(world.meters(phases=1), NOON, 120, mark=False)

    def run(*options: str, days: int = 0) -> Result:
        span = ("--from", (NOON - days * DAY).isoformat(), "--to", (NOON - days * DAY + 2 * HOUR).isoformat())
        return CliRunner().invoke(app, ["replay", *span, *options])

    return run


def test_of_what_is_not_kept_it_says_that_nothing_is_known(replay: Replay) -> None:
    kept, gone, quarters = replay(), replay("--json", days=60), replay("--rule", "consumption_spike")

    assert "minutes" not in kept.stderr
    assert gone.stdout.strip() == "[]"
    assert gone.stderr.splitlines() == [
        "No minutes of these meters are kept in that span: rules of minutes found nothing to look at.",
        "No quarter-hours of these meters are kept in that span: rules of quarter-hours found nothing to look at.",
    ]
    assert quarters.stderr.splitlines() == gone.stderr.splitlines()[1:]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_what_is_no_number_is_no_threshold(replay: Replay, number: str) -> None:
    refused = replay("--rule", "under_voltage", "--raise-at", number)

    assert refused.exit_code == 2
    assert "is no number" in refused.stderr


@pytest.mark.parametrize("option", [("--clear-at", "80"), ("--worse-at", "88")])
def test_what_would_be_over_before_it_begins_or_worse_before_it_is_bad_is_refused(
    replay: Replay, option: tuple[str, str]
) -> None:
    refused = replay("--rule", "under_voltage", "--raise-at", "85", *option)

    assert isinstance(refused.exception, ReplayError)
    assert f"{option[0]} {option[1]} is on the wrong side of 85" in str(refused.exception)
