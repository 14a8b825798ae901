"""The databases that the tests get are their own, and go away."""

from __future__ import annotations

import psycopg
import pytest

from local.servers import PostgresServer


@pytest.mark.parametrize("turn", [1, 2])
def test_what_a_test_leaves_in_its_database_the_next_one_does_not_see(telemetry_db: str, turn: int) -> None:
    with psycopg.connect(telemetry_db) as connection:
        connection.execute("CREATE TABLE left_behind (turn int)")


def test_a_database_is_dropped_with_its_test(pg_server: PostgresServer) -> None:
    """Those of the tests before; this one has none."""
    with psycopg.connect(pg_server.dsn(), autocommit=True) as connection:
        assert connection.execute("SELECT datname FROM pg_database WHERE datname ^@ 'test_'").fetchall() == []


def test_a_template_is_closed_to_connections_so_that_it_can_always_be_cloned(
    pg_server: PostgresServer, telemetry_template: str, domain_template: str
) -> None:
    for template in (telemetry_template, domain_template):
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            psycopg.connect(pg_server.dsn(template))


def test_a_fresh_telemetry_database_has_the_extension_and_the_hypertables(telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db) as connection:
        rows = connection.execute("SELECT hypertable_name FROM timescaledb_information.hypertables").fetchall()
    assert "raw_readings" in {name for (name,) in rows}


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Some releases of pytest and pytest-xdist do not understand each other, and do not say so."""
    if not request.config.getoption("loadgroup", False):
        pytest.skip("only where there are workers")
    assert request.node.nodeid.endswith("@together")
