-- Statements of the worker of alerts. Telemetry measures, the domain decides; what is claimed in telemetry is given back unless the
-- domain has taken note of it, and taking note twice changes nothing.

-- name: claim
-- Spans of meters to look at. Telemetry database.
SELECT step_min, late, meters, first_bucket, end_bucket FROM claim_alerts(%(limit)s, %(now)s);

-- name: terms
-- By what they are looked at. Domain database.
SELECT alert_terms(%(meters)s, %(step_min)s, %(now)s)::text;

-- name: samples
-- What is found. Telemetry database.
SELECT alert_samples(%(meters)s, %(from)s, %(to)s, %(step_min)s, %(terms)s, %(late)s, %(now)s)::text;

-- name: postpone
-- What could not be judged of a meter waits an hour, as one mark with what waits already. Telemetry database.
WITH waiting AS (
    DELETE FROM dirty_alerts
    WHERE block = meter_block(%(meter)s) AND step_min = %(step_min)s AND meters = ARRAY[%(meter)s::integer] AND error IS NOT NULL
    RETURNING first_bucket, last_bucket, due_at
)
INSERT INTO dirty_alerts (step_min, block, meters, first_bucket, last_bucket, due_at, error)
SELECT %(step_min)s, meter_block(%(meter)s), ARRAY[%(meter)s::integer], least(%(from)s, min(first_bucket)),
       greatest(%(to)s::timestamptz - make_interval(mins => %(step_min)s), max(last_bucket)),
       coalesce(min(due_at) FILTER (WHERE due_at > %(now)s), %(now)s::timestamptz + INTERVAL '1 hour'), %(error)s
FROM waiting;

-- name: advance
-- What becomes of it. Domain database.
SELECT fired, resolved FROM alerts_advance(%(samples)s, %(now)s);

-- name: remember
-- What came late. Domain database.
SELECT alerts_remember(%(samples)s, %(now)s);

-- name: turn
-- Whether it is this worker's turn. Telemetry database.
SELECT claim_periodic_work(%(kind)s, %(every)s, %(now)s);

-- name: silent
-- Meters that are not heard. Telemetry database.
SELECT coalesce(jsonb_agg(jsonb_build_object('meter', meter_id, 'since', since, 'intervals', intervals)), '[]')::text FROM silent_meters(1.5, %(now)s);

-- name: silence
-- What becomes of it. Domain database.
SELECT fired, resolved FROM alerts_silence(%(silent)s, %(now)s);

-- name: terms_of
-- By what gateways, or regions, are looked at. Domain database.
SELECT alert_terms_of(%(subject)s, %(now)s)::text;

-- name: samples_of_gateways
-- What they told last. Telemetry database.
SELECT alert_samples_of_gateways(%(terms)s, %(now)s)::text;

-- name: samples_of_regions
-- Their last quarter-hours. Telemetry database.
SELECT alert_samples_of_regions(%(terms)s, %(now)s)::text;

-- name: unmeasured
-- What is open though nothing is measured of it any more. Domain database.
SELECT alerts_unmeasured(%(now)s);

-- name: tell
-- Messages of alerts that are due, and of those that nobody took on. Domain database.
SELECT alerts_tell(%(limit)s, %(now)s), alerts_escalate(%(limit)s, %(now)s);
