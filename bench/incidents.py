"""What rules find of incidents in a month of noise, and what they cry wolf about."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psycopg

from bench.cluster import both
from bench.result import Result
from cloud.alerts.replay import Episode, replay

_BEGAN = datetime(2026, 6, 1, tzinfo=UTC)
_DAYS = 30
_KNOWN = timedelta(days=21)
"""Before that: of days like any, six are known."""
_AT_ONCE = 50
"""Meters whose month is on the disk at the same time, 0.9 GB."""
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Kind:
    """`changes` are of a minute's values, in SQL; `beside` are rules that such an incident may raise as well."""

    rule: str
    minutes: int
    changes: dict[str, str]
    beside: tuple[str, ...] = ()
    hour: int | None = None


_KINDS = (
    _Kind("under_voltage", 30, {name: f"0.86 * 230 + 0.2 * ({name} - 236)" for name in ("v1", "v2", "v3")}),
    _Kind("over_voltage", 30, {name: f"1.12 * 230 + 0.2 * ({name} - 236)" for name in ("v1", "v2", "v3")}),
    _Kind("phase_loss", 10, {"v2": "2", "w": "w * 0.7"}, ("unbalance", "under_voltage")),
    _Kind("unbalance", 40, {"v2": "v2 - 14"}),
    _Kind("under_frequency", 5, {"hz": "49.2"}),
    _Kind("over_frequency", 5, {"hz": "50.7"}),
    _Kind("low_power_factor", 60, {"pf": "0.8", "w": "4000"}, ("consumption_spike",)),
    _Kind("overload", 45, {"w": "9000"}, ("consumption_spike",)),
    _Kind("reverse_power", 20, {"w": "-400"}, ("consumption_drop",)),
    _Kind("register_backwards", 1, {}),
    _Kind("stuck_value", 60, {"shown": "3000", "spread": "0"}),
    _Kind("stuck_register", 60, {"w": "2500", "wh": "0"}, ("consumption_drop", "no_consumption")),
    _Kind("no_consumption", 30 * 60, {"w": "0", "wh": "0"}, ("consumption_drop",)),
    _Kind("consumption_spike", 180, {"w": "w * 8"}, ("overload",), 9),
    _Kind("consumption_drop", 240, {"w": "w * 0.03"}, (), 17),
)


@dataclass(frozen=True, slots=True)
class _Incident:
    meter: int
    kind: int
    since: datetime

    @property
    def until(self) -> datetime:
        return self.since + _KINDS[self.kind].minutes * _MINUTE


# What is measured is what is found: nothing has to survive, and one core writes and reads.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}
_REGISTRY = """
INSERT INTO regions (region, name, timezone) VALUES ('north', 'North', 'UTC');
INSERT INTO meters (rated_power_w, exports) SELECT 10000, false FROM generate_series(1, {meters});
INSERT INTO meter_locations (meter_id, region, timezone) SELECT meter_id, 'north', 'UTC' FROM meters;
"""
_DEVICES = """
INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'bench');
INSERT INTO region_registry (region) VALUES ('north');
INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w, interval_ms)
SELECT 1, 'd' || n, n, 'MTR-' || lpad(n::text, 8, '0'), 'north', 'UTC', 1e6, 10000
FROM generate_series(1, {meters}) AS n
"""
# A household: nights, evenings and weekends differ; an hour takes up to three times what another one does, and so do
# ten minutes of it. Voltage, and how the power factor falls with the load, are as wide as those of the house that
# bench/household.py names: 226 to 252 V, below 0.87 for one minute in twenty, above 0.95 from 2 kW on.
_TIMES = """
    SELECT m, t, own, (300 + 400 * own) * CASE WHEN h < 6 THEN 0.4 WHEN h BETWEEN 17 AND 21 THEN 1.8 ELSE 1 END
                      * CASE WHEN weekend THEN 1.2 ELSE 1 END * (0.5 + hourly) * (0.5 + random()) AS w,
           236 + 4 * (own - 0.5)
               + 2.5 * least(3, sqrt(-2 * ln(street1 + 1e-6))) * cos(2 * pi() * street2) AS v
    FROM unnest(%(meters)s::bigint[]) AS m,
         generate_series(%(from)s::timestamptz, %(to)s, %(step)s::interval) AS t,
         LATERAL (SELECT EXTRACT(epoch FROM t)::bigint / 3600 AS nth, EXTRACT(hour FROM t)::integer AS h,
                         EXTRACT(isodow FROM t) > 5 AS weekend) AS at,
         LATERAL (SELECT (hashint8(m) & 65535) / 65536.0::float8 AS own,
                         (hashint8(m * 1000003 + nth) & 65535) / 65536.0::float8 AS hourly,
                         (hashint8(nth) & 65535) / 65536.0::float8 AS street1,
                         (hashint8(nth + 1000000007) & 65535) / 65536.0::float8 AS street2 OFFSET 0) AS chance
"""
_MINUTES = """
WITH ten AS MATERIALIZED ({times}), chance AS MATERIALIZED (
    SELECT t.m, t.t + n * INTERVAL '1 minute' AS b, t.own, t.v, t.w * (0.92 + 0.16 * r.minutely) AS w, r.minutely
    FROM ten AS t CROSS JOIN generate_series(0, 9) AS n CROSS JOIN LATERAL (SELECT random() + 0 * n AS minutely) AS r
), plain AS MATERIALIZED (
    SELECT c.m, c.b, c.w, c.v - 0.0008 * c.w + c.own + 1.2 * random_normal() AS v1,
           c.v - 0.0008 * c.w + 1.2 * random_normal() AS v2, c.v - 0.0008 * c.w - c.own + 1.2 * random_normal() AS v3,
           50 + 0.02 * random_normal() AS hz, c.minutely
    FROM chance AS c
), changed AS MATERIALIZED (
    SELECT p.m, p.b, p.minutely, {changed}
    FROM plain AS p
    LEFT JOIN unnest(%(of)s::bigint[], %(kinds)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[])
      AS i (m, kind, since, until) ON i.m = p.m AND p.b >= i.since AND p.b < i.until
), complete AS MATERIALIZED (
    SELECT c.m, c.b, c.w, c.v1, c.v2, c.v3, c.hz, c.wh, c.minutely, c.spread, coalesce(c.shown, c.w) AS shown,
           coalesce(c.pf, 1 - 0.25 * exp(-abs(coalesce(c.shown, c.w)) / 500) * (0.5 + 0.5 * c.minutely)) AS pf
    FROM changed AS c
)
INSERT INTO aggregates_1m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,
    power_w_count, power_w_min, power_w_max, power_w_sum, voltage_l1_v_count, voltage_l1_v_min, voltage_l1_v_max,
    voltage_l1_v_sum, voltage_l2_v_count, voltage_l2_v_min, voltage_l2_v_max, voltage_l2_v_sum, voltage_l3_v_count,
    voltage_l3_v_min, voltage_l3_v_max, voltage_l3_v_sum, frequency_hz_count, frequency_hz_min, frequency_hz_max,
    frequency_hz_sum, power_factor_count, power_factor_min, power_factor_max, power_factor_sum)
SELECT m, b, 6, 100, 14, floor(coalesce(wh, greatest(w, 0) / 60) + CASE WHEN wh = 0 THEN 0 ELSE minutely END),
       floor(greatest(-w, 0) / 60 + minutely * sign(greatest(-w, 0))),
       6, shown * (1 - spread), shown * (1 + spread), 6 * shown,
       6, v1 - 1, v1 + 1, 6 * v1, 6, v2 - 1, v2 + 1, 6 * v2, 6, v3 - 1, v3 + 1, 6 * v3,
       6, hz, hz, 6 * hz, 6, pf, pf, 6 * pf
FROM complete
"""
_HISTORY = """
INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,
                            voltage_l1_v_count, voltage_l1_v_sum)
SELECT q.m, q.t, 90, 100, 14, floor(q.w / 4), 0, 90, 90 * q.v FROM ({times}) AS q
"""
_QUARTERS = """
INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,
                            voltage_l1_v_count, voltage_l1_v_sum)
SELECT meter_id, date_bin('15 minutes', bucket, '2000-01-01Z'), 90, 100, 14, sum(energy_import_wh),
       sum(energy_export_wh),
       90, sum(voltage_l1_v_sum) FROM aggregates_1m GROUP BY 1, 2
"""
_LOST = """
INSERT INTO raw_readings (time, meter_id, batch_id, voltage_l1_v, voltage_l2_v, voltage_l3_v)
SELECT t, %(meter)s, 1, 230, 2, 230 FROM generate_series(%(since)s::timestamptz, %(until)s, INTERVAL '10 seconds') AS t
"""
_BACKWARDS = """
INSERT INTO register_events (meter_id, register, at, kind) VALUES (%(meter)s, 1, %(since)s, 'backwards')
"""
_BESIDE = {"phase_loss": _LOST, "register_backwards": _BACKWARDS}
"""What is told of an incident beside its minutes."""


def run(*, meters: int, one_in: int, home: Path, seed: int = 1) -> Iterator[Result]:
    """One in so many of `meters` has an incident in 30 days, of each kind in turn."""
    incidents = list(_incidents(meters, one_in, Random(seed)))
    found: set[int] = set()
    false: list[Episode] = []
    replayed_s = 0.0
    with (
        TemporaryDirectory(dir=home, prefix="bench-") as folder,
        both(Path(folder), settings=_SETTINGS) as server,
        psycopg.connect(server.dsn("domain"), autocommit=True) as domain,
        psycopg.connect(server.dsn("telemetry"), autocommit=True) as telemetry,
    ):
        domain.execute(_REGISTRY.format(meters=meters).encode())
        telemetry.execute(_DEVICES.format(meters=meters).encode())
        telemetry.execute("SELECT setseed(%s)", [1 / (1 + seed)])
        for first in range(1, meters + 1, _AT_ONCE):
            some = list(range(first, min(first + _AT_ONCE, meters + 1)))
            theirs = {incident.meter: incident for incident in incidents if incident.meter in some}
            _month(telemetry, some, theirs)
            codes = [f"MTR-{meter:08}" for meter in some]
            until = _BEGAN + timedelta(days=_DAYS)
            began_s = time.perf_counter()
            for episode in replay(domain, telemetry, since=_BEGAN, until=until, meters=codes):
                incident = theirs.get(int(episode.meter[4:]))
                if incident is None or not _belongs(episode, incident):
                    false.append(episode)
                elif episode.rule == _KINDS[incident.kind].rule:
                    found.add(incident.meter)
            replayed_s += time.perf_counter() - began_s
    for incident in incidents:
        if incident.meter not in found:
            print(f"missed: {_KINDS[incident.kind].rule} of meter {incident.meter} from {incident.since}", flush=True)
    for episode in false:
        print(f"false: {episode.rule} of {episode.meter} from {episode.started_at}, {episode.worst}", flush=True)
    name = f"alerts: {len(incidents)} incidents in {_DAYS} days of {meters:,} meters"
    yield Result.limit(f"{name}: found", "%", 100 * len(found) / len(incidents), at_least=100)
    yield Result.limit(f"{name}: false", "% of alerts", 100 * len(false) / (len(incidents) + len(false)), at_most=2)
    yield Result.told("alerts: replay of a month of a meter", "s", replayed_s / meters)


def _belongs(episode: Episode, incident: _Incident) -> bool:
    kind = _KINDS[incident.kind]
    # What is measured by the hour is told at its end.
    near = episode.started_at < incident.until + timedelta(hours=1) and episode.fired_at > incident.since
    return near and episode.rule in (kind.rule, *kind.beside)


def _incidents(meters: int, one_in: int, chance: Random) -> Iterator[_Incident]:
    for number, meter in enumerate(range(1, meters + 1, one_in)):
        kind = number % len(_KINDS)
        day = _BEGAN + timedelta(days=chance.randrange(_DAYS - 2))
        hour = _KINDS[kind].hour
        minute = chance.randrange(24 * 60) if hour is None else 60 * hour
        yield _Incident(meter, kind, day + minute * _MINUTE)


def _month(telemetry: psycopg.Connection, meters: list[int], incidents: dict[int, _Incident]) -> None:
    telemetry.execute("TRUNCATE aggregates_1m, aggregates_15m, raw_readings, meter_phases, register_events")
    chosen = list(incidents.values())
    before = {"meters": meters, "from": _BEGAN - _KNOWN, "to": _BEGAN - _MINUTE, "step": "15 minutes"}
    telemetry.execute(_HISTORY.format(times=_TIMES).encode(), before)
    asked = {
        "meters": meters,
        "step": "10 minutes",
        "from": _BEGAN,
        "to": _BEGAN + timedelta(days=_DAYS) - _MINUTE,
        "of": [one.meter for one in chosen],
        "kinds": [one.kind for one in chosen],
        "since": [one.since for one in chosen],
        "until": [one.until for one in chosen],
    }
    telemetry.execute(_MINUTES.format(times=_TIMES, changed=_changed()).encode(), asked)
    telemetry.execute(_QUARTERS)
    for one in chosen:
        if beside := _BESIDE.get(_KINDS[one.kind].rule):
            telemetry.execute(beside, {"meter": one.meter, "since": one.since, "until": one.until})
    telemetry.execute("ANALYZE aggregates_1m, aggregates_15m")


def _changed() -> str:
    """The columns of a minute, each as the kind of the incident says, or as it was."""
    columns = {name: name for name in ("w", "v1", "v2", "v3", "hz")}
    columns |= {"pf": "NULL::float8", "wh": "NULL::float8", "shown": "NULL::float8", "spread": "0.02"}
    parts = []
    for name, plain in columns.items():
        cases = [f"WHEN {nth} THEN {kind.changes[name]}" for nth, kind in enumerate(_KINDS) if name in kind.changes]
        parts.append(f"CASE i.kind {' '.join(cases)} ELSE {plain} END AS {name}" if cases else f"{plain} AS {name}")
    return ", ".join(parts)
