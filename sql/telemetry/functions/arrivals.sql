-- Readings in the order in which they arrived, for who looks on: late ones come when they come.
--
-- Transactions do not end in the order of any number that they draw, so no number says what was seen. A snapshot does: it names
-- the transactions that had ended. What had not ended by the one and has by the next has arrived between them. Each server counts
-- its transactions from the beginning, so a snapshot is good on the server alone that it was made on, and where its standby went on.

CREATE OR REPLACE FUNCTION arrivals(
    p_meters integer[], p_cursor text, p_limit integer DEFAULT 5000, OUT cursor text, OUT readings text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_now CONSTANT pg_snapshot := pg_current_snapshot();
    v_server CONSTANT text := (SELECT c.system_identifier::text || '@' FROM pg_control_system() AS c);
    v_parts CONSTANT text[] := string_to_array(substr(p_cursor, length(v_server) + 1), '/');
    v_seen pg_snapshot;
    v_until pg_snapshot;
    v_after bigint;
    v_batches bigint[];
    v_first timestamptz[];
    v_last timestamptz[];
    v_before bigint[];
    v_chosen integer;
BEGIN
    PERFORM require_granted(m) FROM unnest(p_meters) AS m;
    readings := '{}';
    IF p_cursor IS NULL THEN
        cursor := v_server || v_now;
        RETURN;
    END IF;
    IF NOT starts_with(p_cursor, v_server) THEN
        RAISE EXCEPTION 'what was seen last is not of this server'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin without it.';
    END IF;
    v_seen := v_parts[1]::pg_snapshot;
    v_until := COALESCE(v_parts[2]::pg_snapshot, v_now);
    v_after := COALESCE(v_parts[3]::bigint, 0);
    IF greatest(pg_snapshot_xmax(v_seen), pg_snapshot_xmax(v_until)) > pg_snapshot_xmax(v_now) THEN
        RAISE EXCEPTION 'what was seen last is yet to come'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin without it.';
    END IF;
    SELECT array_agg(n.batch_id ORDER BY n.batch_id), array_agg(n.first_time ORDER BY n.batch_id),
           array_agg(n.last_time ORDER BY n.batch_id), array_agg(n.before ORDER BY n.batch_id)
    INTO v_batches, v_first, v_last, v_before
    FROM (SELECT b.batch_id, b.first_time, b.last_time, sum(b.readings) OVER (ORDER BY b.batch_id) - b.readings AS before
          FROM ingest_batches AS b
          WHERE b.gateway_id = ANY (ARRAY(SELECT d.gateway_id FROM device_registry AS d WHERE d.meter_id = ANY (p_meters)))
            AND b.transaction_id >= pg_snapshot_xmin(v_seen) AND b.transaction_id < pg_snapshot_xmax(v_until)
            AND NOT pg_visible_in_snapshot(b.transaction_id, v_seen) AND pg_visible_in_snapshot(b.transaction_id, v_until)
            AND b.batch_id > v_after AND b.first_time IS NOT NULL
          ORDER BY b.batch_id LIMIT 1001) AS n;
    v_chosen := (SELECT count(*) FROM unnest(v_before) WITH ORDINALITY AS u (before, nth) WHERE u.before < p_limit AND u.nth <= 1000);
    cursor := v_server || CASE WHEN v_chosen < cardinality(v_batches) THEN concat_ws('/', v_seen, v_until, v_batches[v_chosen]) ELSE v_until::text END;
    IF v_chosen = 0 THEN
        RETURN;
    END IF;
    SELECT COALESCE(json_object_agg(r.meter_id, r.told)::text, '{}') INTO readings
    FROM (
        SELECT m.meter_id, json_agg(w.told ORDER BY w.time) AS told
        FROM (SELECT DISTINCT u AS meter_id, granted_spans(u) AS spans FROM unnest(p_meters) AS u) AS m
        CROSS JOIN unnest(v_batches[:v_chosen], v_first[:v_chosen], v_last[:v_chosen]) AS b (batch_id, first_time, last_time)
        CROSS JOIN LATERAL (
            SELECT x.time, row_to_json(x) AS told
            FROM (SELECT v.time, v.flags, v.power_w, v.power_l1_w, v.power_l2_w, v.power_l3_w, v.apparent_power_va,
                         v.reactive_power_var, v.power_factor, v.voltage_l1_v, v.voltage_l2_v, v.voltage_l3_v, v.current_l1_a,
                         v.current_l2_a, v.current_l3_a, v.frequency_hz, v.energy_import_wh, v.energy_export_wh,
                         v.reactive_energy_import_varh, v.reactive_energy_export_varh
                  FROM raw_readings AS v
                  WHERE v.meter_id = m.meter_id AND v.time >= b.first_time AND v.time <= b.last_time
                    AND v.batch_id = b.batch_id AND m.spans @> v.time) AS x
        ) AS w
        GROUP BY m.meter_id
    ) AS r;
END
$$;
COMMENT ON FUNCTION arrivals(integer[], text, integer) IS
    'Readings of the meters, of those that are the caller''s to read, that arrived since p_cursor: JSON, for each meter with any a list in order of time; and the next p_cursor. NULL begins now. Of more than some p_limit readings of their gateways the first batches, and the next p_cursor, with a slash in it, has the rest. Raises SG060, and 22023 or 22P02 for a p_cursor that is none, or of another server';
GRANT EXECUTE ON FUNCTION arrivals(integer[], text, integer) TO segs_api;

CREATE OR REPLACE FUNCTION arrived(p_meters integer[], p_cursor text, OUT cursor text, OUT meters integer[])
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_now CONSTANT pg_snapshot := pg_current_snapshot();
    v_server CONSTANT text := (SELECT c.system_identifier::text || '@' FROM pg_control_system() AS c);
    v_seen pg_snapshot;
BEGIN
    cursor := v_server || v_now;
    meters := '{}';
    IF p_cursor IS NULL OR p_cursor = cursor THEN
        RETURN;
    END IF;
    IF NOT starts_with(p_cursor, v_server) THEN
        RAISE EXCEPTION 'what was seen last is not of this server'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin without it.';
    END IF;
    v_seen := substr(p_cursor, length(v_server) + 1)::pg_snapshot;
    IF pg_snapshot_xmax(v_seen) > pg_snapshot_xmax(v_now) THEN
        RAISE EXCEPTION 'what was seen last is yet to come'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin without it.';
    END IF;
    meters := ARRAY(
        SELECT DISTINCT d.meter_id
        FROM (SELECT r.gateway_id, r.meter_id FROM device_registry AS r WHERE r.meter_id = ANY (p_meters)) AS d
        WHERE EXISTS (
            SELECT FROM ingest_batches AS b
            WHERE b.gateway_id = d.gateway_id AND b.first_time IS NOT NULL
              AND b.transaction_id >= pg_snapshot_xmin(v_seen) AND b.transaction_id < pg_snapshot_xmax(v_now)
              AND NOT pg_visible_in_snapshot(b.transaction_id, v_seen)));
END
$$;
COMMENT ON FUNCTION arrived(integer[], text) IS
    'Of the meters those whose gateways, any that ever read them, delivered readings since p_cursor, and the next p_cursor; NULL begins now. It tells no more than that, and asks for no grants. Raises 22023 or 22P02 for a p_cursor that is none, or of another server';
GRANT EXECUTE ON FUNCTION arrived(integer[], text) TO segs_api;

-- A dump brings the numbers of another server's transactions. What has a number that is yet to come here would arrive again then.
UPDATE ingest_batches AS b SET transaction_id = NULL
  FROM gateway_registry AS g
 WHERE b.gateway_id = g.gateway_id AND b.transaction_id >= pg_snapshot_xmax(pg_current_snapshot());
