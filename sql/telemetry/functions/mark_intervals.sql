-- Which quarter-hours are looked at by validation and estimation: each local day once when it has ended, and at once what is
-- out of the ordinary: computed without a reading, not believed, or late. What is in time costs a comparison.

CREATE OR REPLACE FUNCTION mark_interval() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (NEW.meter_id, NEW.bucket, NEW.bucket);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_interval() IS 'Marks a quarter-hour of aggregates_15m in dirty_intervals';

CREATE OR REPLACE TRIGGER aggregates_15m_made AFTER INSERT ON aggregates_15m FOR EACH ROW
    WHEN (NEW.meter_id > 0 AND (NEW.samples = 0 OR NEW.quality = 10 OR NEW.computed_at - NEW.bucket > INTERVAL '42 hours'))
    EXECUTE FUNCTION mark_interval();
CREATE OR REPLACE TRIGGER aggregates_15m_changed AFTER UPDATE ON aggregates_15m FOR EACH ROW
    WHEN ((NEW.samples = 0 OR OLD.samples = 0 OR NEW.quality = 10 OR NEW.computed_at - NEW.bucket > INTERVAL '42 hours')
          AND (NEW.samples, NEW.quality, NEW.energy_import_wh, NEW.energy_export_wh, NEW.reactive_energy_import_varh, NEW.reactive_energy_export_varh)
              IS DISTINCT FROM
              (OLD.samples, OLD.quality, OLD.energy_import_wh, OLD.energy_export_wh, OLD.reactive_energy_import_varh, OLD.reactive_energy_export_varh))
    EXECUTE FUNCTION mark_interval();

CREATE OR REPLACE FUNCTION mark_ended_days(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    -- The last day that has ended everywhere on Earth for six hours.
    v_day CONSTANT date := ((p_now - INTERVAL '18 hours') AT TIME ZONE 'UTC')::date - 1;
    v_done timestamptz;
    v_marks integer;
BEGIN
    INSERT INTO periodic_work (kind, done_at) VALUES ('ended_days', (v_day - 1)::timestamp AT TIME ZONE 'UTC') ON CONFLICT DO NOTHING;
    SELECT w.done_at INTO v_done FROM periodic_work AS w WHERE w.kind = 'ended_days' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR (v_done AT TIME ZONE 'UTC')::date >= v_day THEN
        RETURN 0;
    END IF;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket)
    SELECT DISTINCT d.meter_id, local_start(day, d.timezone), local_start(day + INTERVAL '1 day', d.timezone) - INTERVAL '15 minutes'
    FROM generate_series(greatest((v_done AT TIME ZONE 'UTC')::date + 1, v_day - 6)::timestamp, v_day::timestamp, INTERVAL '1 day') AS day
    JOIN device_registry AS d ON d.valid && tstzrange(local_start(day, d.timezone), local_start(day + INTERVAL '1 day', d.timezone));
    GET DIAGNOSTICS v_marks = ROW_COUNT;
    UPDATE periodic_work SET done_at = v_day::timestamp AT TIME ZONE 'UTC' WHERE kind = 'ended_days';
    RETURN v_marks;
END
$$;
COMMENT ON FUNCTION mark_ended_days(timestamptz) IS
    'Marks the local days that have ended since the last call, at most seven, for every meter; returns the marks made. One worker at a time';
GRANT EXECUTE ON FUNCTION mark_ended_days(timestamptz) TO segs_worker;
