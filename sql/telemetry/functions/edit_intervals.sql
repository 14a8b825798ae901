-- What operators do. Each call marks what it changed, so that it is validated again.

-- A slip of the finger must not be more than the sums of a year can hold: they would fail, and with them every question.
CREATE OR REPLACE FUNCTION require_energy(p_energy bigint[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF 10000000000000 < ANY (p_energy) THEN
        RAISE EXCEPTION 'no meter moves by % in a quarter-hour', (SELECT max(e) FROM unnest(p_energy) AS e)
            USING ERRCODE = 'numeric_value_out_of_range', HINT = 'Give 0 to 10000000000000, Wh.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_energy(bigint[]) IS 'Raises 22003 for energy, Wh, that no register can show';

CREATE OR REPLACE FUNCTION interval_edit(
    p_meter_id integer, p_buckets timestamptz[], p_import_wh bigint[], p_export_wh bigint[], p_reason text, p_actor text, p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_made integer;
BEGIN
    PERFORM require_energy(p_import_wh || p_export_wh);
    UPDATE interval_versions AS v SET ended_at = greatest(p_now, v.created_at), ended_by = p_actor, ended_reason = 'edited again: ' || p_reason
    WHERE v.meter_id = p_meter_id AND v.bucket = ANY (p_buckets) AND v.method = 'edit' AND v.ended_at IS NULL;
    INSERT INTO interval_versions (meter_id, bucket, method, quality, energy_import_wh, energy_export_wh, actor, reason, created_at)
    SELECT p_meter_id, e.bucket, 'edit', 7, e.import_wh, e.export_wh, p_actor, p_reason, p_now
    FROM unnest(p_buckets, p_import_wh, p_export_wh) AS e (bucket, import_wh, export_wh);
    GET DIAGNOSTICS v_made = ROW_COUNT;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) SELECT p_meter_id, min(b), max(b) FROM unnest(p_buckets) AS b;
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION interval_edit(integer, timestamptz[], bigint[], bigint[], text, text, timestamptz) IS
    'Sets the energy of quarter-hours, Wh, NULL for a register that stays as it is; it holds until it is revoked or edited again; returns how many';

CREATE OR REPLACE FUNCTION interval_revoke(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_reason text, p_actor text, p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_ended integer;
    v_first timestamptz;
    v_last timestamptz;
BEGIN
    WITH ended AS (
        UPDATE interval_versions AS v SET ended_at = greatest(p_now, v.created_at), ended_by = p_actor, ended_reason = p_reason
        WHERE v.meter_id = p_meter_id AND v.bucket >= p_from AND v.bucket < p_to AND v.ended_at IS NULL
          AND (v.method = 'edit' OR v.actor IS NOT NULL)
        RETURNING v.bucket
    )
    SELECT count(*), min(e.bucket), max(e.bucket) INTO v_ended, v_first, v_last FROM ended AS e;
    IF v_ended = 0 THEN
        RAISE EXCEPTION 'nobody edited meter % from % to %', p_meter_id, p_from, p_to
            USING ERRCODE = 'SG042', HINT = 'intervals of quality 7 are edited.';
    END IF;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (p_meter_id, v_first, v_last);
    RETURN v_ended;
END
$$;
COMMENT ON FUNCTION interval_revoke(integer, timestamptz, timestamptz, text, text, timestamptz) IS
    'Ends edits and operators'' estimates of p_from to p_to: what is beneath holds again; returns how many; raises SG042 where there are none';

CREATE OR REPLACE FUNCTION interval_estimate(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_import_wh bigint, p_export_wh bigint, p_reason text, p_actor text,
    p_now timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_made integer;
BEGIN
    PERFORM require_energy(ARRAY[p_import_wh, p_export_wh]);
    IF EXISTS (SELECT FROM aggregates_15m AS a
               WHERE a.meter_id = p_meter_id AND a.bucket >= p_from AND a.bucket < p_to AND (a.samples > 0 OR a.quality <> 10)) THEN
        RAISE EXCEPTION 'meter % was read between % and %, or its register''s move is known', p_meter_id, p_from, p_to
            USING ERRCODE = 'SG043', HINT = 'Give the span of the gap alone, or edit.';
    END IF;
    UPDATE interval_versions AS v SET ended_at = greatest(p_now, v.created_at), ended_by = p_actor, ended_reason = 'estimated again: ' || p_reason
    WHERE v.meter_id = p_meter_id AND v.bucket >= p_from AND v.bucket < p_to AND v.method <> 'edit' AND v.ended_at IS NULL;
    INSERT INTO interval_versions (meter_id, bucket, method, quality, energy_import_wh, energy_export_wh, actor, reason, created_at)
    SELECT p_meter_id, g.bucket, 'like_day', 8, g.energy_import_wh, g.energy_export_wh, p_actor, p_reason, p_now
    FROM shape_gap(p_meter_id, p_from, p_to, p_import_wh, p_export_wh, NULL, NULL) AS g
    WHERE num_nonnulls(g.energy_import_wh, g.energy_export_wh) > 0;
    GET DIAGNOSTICS v_made = ROW_COUNT;
    IF v_made = 0 THEN
        RAISE EXCEPTION 'meter % has no like days in the three weeks before %', p_meter_id, p_from
            USING ERRCODE = 'SG044', HINT = 'Edit the quarter-hours instead.';
    END IF;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (p_meter_id, p_from, p_to - INTERVAL '15 minutes');
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION interval_estimate(integer, timestamptz, timestamptz, bigint, bigint, text, text, timestamptz) IS
    'Shares a known energy (Wh, NULL for a register that is not known) of a gap out like the days before it; returns the quarter-hours; raises SG043 where there is something better, SG044 without like days';
GRANT EXECUTE ON FUNCTION require_energy(bigint[]) TO segs_worker, segs_api;
GRANT EXECUTE ON FUNCTION interval_edit(integer, timestamptz[], bigint[], bigint[], text, text, timestamptz) TO segs_worker, segs_api;
GRANT EXECUTE ON FUNCTION interval_revoke(integer, timestamptz, timestamptz, text, text, timestamptz) TO segs_worker, segs_api;
GRANT EXECUTE ON FUNCTION interval_estimate(integer, timestamptz, timestamptz, bigint, bigint, text, text, timestamptz) TO segs_worker, segs_api;
