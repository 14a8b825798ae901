-- Statements of validation, estimation and editing. Telemetry database.

-- name: validate
-- One claim of marks.
SELECT marks, estimates, findings FROM validate_intervals(%(limit)s, %(now)s);

-- name: postpone
-- The oldest mark that nobody holds waits an hour.
UPDATE dirty_intervals SET not_before = %(now)s::timestamptz + INTERVAL '1 hour', error = %(error)s
WHERE dirty_id = (SELECT dirty_id FROM dirty_intervals WHERE not_before <= %(now)s
                  ORDER BY dirty_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING meter_id, first_bucket, last_bucket;

-- name: mark_ended_days
-- The local days that have ended meanwhile, of every meter. No day is looked at twice, so that none may be before its end:
-- the server's clock has to agree.
SELECT mark_ended_days(least(%(now)s, clock_timestamp()));

-- name: estimate_silence
-- Meters that have been silent for days, by both clocks.
SELECT estimate_silence(%(limit)s, least(%(now)s, clock_timestamp()));

-- name: claim
-- Whether it is this worker's turn; holds until the transaction ends.
SELECT claim_periodic_work(%(kind)s, %(every)s, %(now)s);

-- name: mark_silent_regions
-- Quarter-hours of regions that nobody has heard of.
SELECT mark_silent_regions(%(from)s, %(to)s);

-- name: lag
-- How long the most overdue of the marks that are next has waited since it could be taken, seconds; 0 where there is none.
SELECT greatest(0, COALESCE(EXTRACT(epoch FROM %(now)s - min(greatest(next.marked_at, next.not_before))), 0))::float8
FROM (SELECT d.marked_at, d.not_before FROM dirty_intervals AS d WHERE d.not_before <= %(now)s ORDER BY d.dirty_id LIMIT %(limit)s) AS next;

-- name: meter
-- The meter with this code.
SELECT meter_id FROM device_registry WHERE meter_code = %(code)s LIMIT 1;

-- name: effective
-- What holds of a meter's quarter-hours.
SELECT bucket, energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh, quality, version, source
FROM effective_quarters(ARRAY[%(meter_id)s::integer], ARRAY[%(from)s::timestamptz], ARRAY[%(to)s::timestamptz])
ORDER BY bucket;

-- name: versions
-- All that was ever put in place of a meter's quarter-hours.
SELECT bucket, method, quality, energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh, actor, reason,
    created_at, ended_at, ended_by, ended_reason
FROM interval_versions
WHERE meter_id = %(meter_id)s AND bucket >= %(from)s AND bucket < %(to)s
ORDER BY bucket, version_id;

-- name: findings
-- Findings that stand, of days from one to another.
SELECT f.rule, d.meter_code, f.day, f.first_bucket, f.last_bucket, f.measured, f.allowed, f.found_at
FROM vee_findings AS f
CROSS JOIN LATERAL (SELECT r.meter_code FROM device_registry AS r WHERE r.meter_id = f.meter_id LIMIT 1) AS d
WHERE f.cleared_at IS NULL AND f.day >= %(from)s AND f.day <= %(to)s
ORDER BY f.day, d.meter_code, f.rule, f.first_bucket;

-- name: edit
-- One quarter-hour.
SELECT interval_edit(%(meter_id)s, ARRAY[%(at)s::timestamptz], ARRAY[%(import_wh)s::bigint], ARRAY[%(export_wh)s::bigint],
    %(reason)s, %(actor)s, %(now)s, %(beyond_limit)s, ARRAY[%(import_varh)s::bigint], ARRAY[%(export_varh)s::bigint]) AS quarters;

-- name: revoke
-- What operators did.
SELECT interval_revoke(%(meter_id)s, %(from)s, %(to)s, %(reason)s, %(actor)s, %(now)s) AS quarters;

-- name: estimate
-- A gap whose energy is known.
SELECT interval_estimate(%(meter_id)s, %(from)s, %(to)s, %(import_wh)s, %(export_wh)s, %(reason)s, %(actor)s, %(now)s,
    %(beyond_limit)s, %(import_varh)s, %(export_varh)s) AS quarters;
