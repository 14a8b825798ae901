"""A domain database with people of every role and something of each, asked as the API asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ADA, BOB, OPS, FAR, ROOT, GONE = 1, 2, 3, 4, 5, 6
"""Two customers in the north; operators of the north and of the south; an admin; one who is suspended."""

SEED: LiteralString = """
INSERT INTO regions (region, name, timezone, capacity_w) VALUES ('north', 'North', 'UTC', 1e6), ('south', 'South',
        'UTC', 1e6);
INSERT INTO users (email, name, region, role, email_verified_at, suspended_at) VALUES
    ('ada@example.org', 'Ada', 'north', 'USER', now(), NULL), ('bob@example.org', 'Bob', 'north', 'USER', now(), NULL),
    ('ops@example.org', 'Ops', 'north', 'OPERATOR', now(), NULL), ('far@example.org', 'Far', 'south', 'OPERATOR',
        now(), NULL),
    ('root@example.org', 'Root', NULL, 'ADMIN', now(), NULL), ('gone@example.org', 'Gone', 'north', 'ADMIN', now(),
        now());
INSERT INTO operator_regions (user_id, region) VALUES (3, 'north'), (4, 'south'), (1, 'south');
INSERT INTO meters (model, serial) VALUES ('sdm630', 'A'), ('sdm630', 'B'), ('sdm630', 'C');
INSERT INTO meter_locations (meter_id, region, timezone) VALUES (1, 'north', 'UTC'), (2, 'north', 'UTC'), (3,
        'south', 'UTC');
INSERT INTO meter_owners (meter_id, user_id, valid) VALUES
    (1, 1, '[-infinity, infinity)'), (2, 2, '[-infinity, infinity)'), (3, 2, '[-infinity, infinity)');
INSERT INTO meter_exchanges (meter_id, exchanged_at) VALUES (1, '2026-01-01Z'), (2, '2026-01-01Z'), (3, '2026-01-01Z');
INSERT INTO meter_claims (meter_id, code_hash, issued_by, created_at, expires_at)
    SELECT m, sha256(m::text::bytea), 5, now(), now() + INTERVAL '1 day' FROM generate_series(1, 3) AS m;
INSERT INTO gateways (name, region) VALUES ('attic', NULL), ('cellar', 'south'), ('shed', NULL);
INSERT INTO gateway_keys (gateway_id, key_hash) VALUES (1, sha256('1')), (2, sha256('2')), (3, sha256('3'));
INSERT INTO devices (gateway_id, device, meter_id, interval_ms) VALUES (1, 'm1', 1, 1000), (1, 'm2', 2, 1000);
INSERT INTO tariffs (code, name, region, currency, timezone, document, valid) VALUES
    ('n', 'North', 'north', 'EUR', 'UTC', '{}', '[2026-01-01, infinity)'),
    ('s', 'South', 'south', 'EUR', 'UTC', '{}', '[2026-01-01, infinity)');
INSERT INTO tariff_rules (tariff_id, component, period, tier, unit, rate) VALUES (1, 'energy', 0, 0, 'kWh', 1), (2,
        'energy', 0, 0, 'kWh', 1);
INSERT INTO tariff_holidays (code, day, name) VALUES ('n', '2026-12-25', 'Christmas');
INSERT INTO meter_tariffs (meter_id, code, valid)
    SELECT m, CASE WHEN m = 3 THEN 's' ELSE 'n' END, '[2026-01-01, infinity)' FROM generate_series(1, 3) AS m;
INSERT INTO invoices (meter_id, user_id, period_start, period_end, timezone, span, currency, net_amount,
        tax_amount)
    SELECT o.meter_id, o.user_id, '2026-01-01', '2026-02-01', 'UTC', '[2026-01-01Z, 2026-02-01Z)', 'EUR',
        10, 0 FROM meter_owners o ORDER BY 1;
INSERT INTO invoice_line_items (invoice_id, position, component, description, tariff_id, quantity, unit,
        unit_price, amount)
    SELECT i, 1, 'fixed', 'Basic charge', 1, 31, 'day', 1, 10 FROM generate_series(1, 3) AS i;
INSERT INTO invoice_days (invoice_id, day, energy_import_wh, energy_export_wh, estimated)
    SELECT i, '2026-01-01', 0, 0, false FROM generate_series(1, 3) AS i;
INSERT INTO invoice_banks (invoice_id, kwh) SELECT i, 1 FROM generate_series(1, 3) AS i;
SELECT bill_finalise(i, '2026-02-02Z') FROM generate_series(1, 3) AS i;
SELECT bill_dispute(i, 'Too much', '2026-02-03Z') FROM generate_series(1, 3) AS i;
INSERT INTO billing_work (month, meter_id) SELECT '2026-01-01', m FROM generate_series(1, 3) AS m;
INSERT INTO payment_transactions (invoice_id, kind, provider, provider_reference, amount, currency, status, occurred_at)
    SELECT i, 'payment', 'simulated', i::text, 10, 'EUR', 'pending', '2026-02-10Z' FROM generate_series(1, 3) AS i;
INSERT INTO alerts (rule, meter_id, category, severity, state, message, started_at, fired_at)
    SELECT 'under_voltage', m, 'supply', 'warning', 'firing', 'Low', '2026-01-10Z', '2026-01-10Z'
    FROM generate_series(1, 3) AS m;
INSERT INTO alerts (rule, region, category, severity, state, message, started_at, fired_at) VALUES ('region_overload',
        'south', 'load', 'high', 'firing', 'Full', '2026-01-10Z', '2026-01-10Z');
INSERT INTO alerts (rule, gateway_id, category, severity, state, message, started_at, fired_at) VALUES
        ('gateway_silent', 1, 'data', 'high', 'firing', 'Silent', '2026-01-10Z', '2026-01-10Z');
INSERT INTO alert_events (alert_id, kind, event_at) SELECT a, 'fired', '2026-01-10Z' FROM generate_series(1, 5) AS a;
INSERT INTO alert_rules (rule, meter_id, metric, above, raise_at, clear_at, severity, window_min, category)
    SELECT 'over_voltage', m, 'voltage_percent', true, 120, 119, 'high', 10, 'supply' FROM generate_series(1, 3) AS m;
INSERT INTO maintenance_windows (meter_id, gateway_id, site, region, valid, reason) VALUES
    (1, NULL, NULL, NULL, '[2026-01-01Z, 2026-01-02Z)', 'x'), (NULL, 2, NULL, NULL, '[2026-01-01Z, 2026-01-02Z)', 'x'),
    (NULL, NULL, 'barn', NULL, '[2026-01-01Z, 2026-01-02Z)', 'x'),
    (NULL, NULL, NULL, 'south', '[2026-01-01Z, 2026-01-02Z)', 'x');
INSERT INTO sessions (user_id, token_hash, created_at, expires_at)
    SELECT u, sha256(u::text::bytea), '2026-01-01Z', '2027-01-01Z' FROM generate_series(1, 6) AS u;
"""

LOOK: LiteralString = "SELECT audit_access('test', NULL, NULL) WHERE caller_role() IS NOT NULL"
"""Operators and admins see nothing of others before they have said that they look."""


class People:
    """`owner` may all; `ask` is what the API asks for one of them, or for nobody."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.owner = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.owner.execute("SET timezone = 'UTC'")

    def ask(self, caller: int | None, statement: str, *parameters: object) -> list[dict[str, Any]]:
        with self.owner.transaction():
            self.owner.execute("SET LOCAL ROLE segs_api")
            if caller is not None:
                self.owner.execute("SELECT set_config('segs.user_id', %s, true)", [str(caller)])
                self.owner.execute(LOOK)
            cursor = self.owner.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def one(self, caller: int | None, statement: str, *parameters: object) -> Any:
        """The one value that there is."""
        [row] = self.ask(caller, statement, *parameters)
        [value] = row.values()
        return value

    def keys(self, caller: int | None, table: str) -> set[object]:
        """First columns of the rows that `caller` sees."""
        key = self.owner.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", [table]
        ).fetchone()
        assert key is not None
        return {row["key"] for row in self.ask(caller, f"SELECT {key['attname']} AS key FROM {table}")}
