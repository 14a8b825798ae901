-- What operators do. Each call marks what it changed, so that it is validated again. What nobody can know, or no cable can
-- carry, is refused.

-- Earlier masters had these without reactive energy; beside those that follow nobody would know which is meant.
DROP FUNCTION IF EXISTS interval_edit(integer, timestamptz[], bigint[], bigint[], text, text, timestamptz, boolean);
DROP FUNCTION IF EXISTS interval_estimate(integer, timestamptz, timestamptz, bigint, bigint, text, text, timestamptz, boolean);
DROP FUNCTION IF EXISTS require_carried(integer, timestamptz, timestamptz, bigint);

-- A slip of the finger must not be more than the sums of a year can hold: they would fail, and with them every question.
CREATE OR REPLACE FUNCTION require_energy(p_energy bigint[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF 10000000000000 < ANY (p_energy) THEN
        RAISE EXCEPTION 'no meter moves by % in a quarter-hour', (SELECT max(e) FROM unnest(p_energy) AS e)
            USING ERRCODE = 'numeric_value_out_of_range', HINT = 'Give 0 to 10000000000000, Wh or varh.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_energy(bigint[]) IS 'Raises 22003 for energy, Wh or varh, that no register can show';

CREATE OR REPLACE FUNCTION meter_label(p_meter_id integer) RETURNS text
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$ SELECT COALESCE((SELECT d.meter_code FROM device_registry AS d WHERE d.meter_id = p_meter_id LIMIT 1), 'number ' || p_meter_id) $$;
COMMENT ON FUNCTION meter_label(integer) IS 'A meter as people know it: its code';

CREATE OR REPLACE FUNCTION connection_limit_wh(p_meter_id integer, p_from timestamptz, p_to timestamptz) RETURNS double precision
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT max(d.max_power_w) * date_part('epoch', p_to - p_from) / 3600 FROM device_registry AS d WHERE d.meter_id = p_meter_id
$$;
COMMENT ON FUNCTION connection_limit_wh(integer, timestamptz, timestamptz) IS
    'The most that a meter''s connection can carry from p_from to p_to, Wh: max_power_w all the time; NULL for a meter that no device ever was';

CREATE OR REPLACE FUNCTION require_quarters(p_times timestamptz[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_odd CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_times) AS t WHERE date_bin('15 minutes', t, '2000-01-01 00:00+00') <> t);
BEGIN
    IF v_odd IS NOT NULL THEN
        RAISE EXCEPTION 'no quarter-hour begins or ends at %', v_odd
            USING ERRCODE = 'SG041', HINT = 'Give times at minute 0, 15, 30 or 45.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_quarters(timestamptz[]) IS 'Raises SG041 for a time that is no bound of a quarter-hour';

CREATE OR REPLACE FUNCTION require_ended(p_to timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF p_to > p_now THEN
        RAISE EXCEPTION 'nobody can know yet what is used up to %', p_to
            USING ERRCODE = 'SG045', HINT = format('Give quarter-hours that have ended; it is %s now.', date_trunc('second', p_now));
    END IF;
END
$$;
COMMENT ON FUNCTION require_ended(timestamptz, timestamptz) IS 'Raises SG045 for a span that ends after p_now';

CREATE OR REPLACE FUNCTION require_carried(p_meter_id integer, p_from timestamptz, p_to timestamptz, p_energy bigint, p_unit text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_most_wh CONSTANT double precision := connection_limit_wh(p_meter_id, p_from, p_to);
BEGIN
    IF p_energy > v_most_wh THEN
        RAISE EXCEPTION '% % from % to % are more than the connection of meter % carries: % %',
            p_energy, p_unit, p_from, p_to, meter_label(p_meter_id), floor(v_most_wh), p_unit
            USING ERRCODE = 'SG046', HINT = 'Look at unit and decimals; if it is true all the same, say that it may be beyond the limit.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_carried(integer, timestamptz, timestamptz, bigint, text) IS
    'Raises SG046 for energy, p_unit Wh or varh, that the connection cannot have carried in that time';

CREATE OR REPLACE FUNCTION beyond_limit_reason(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_import_wh bigint, p_export_wh bigint, p_reason text
) RETURNS text
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT p_reason || CASE WHEN greatest(p_import_wh, p_export_wh) > l.most_wh
                            THEN format(' (beyond the %s Wh that the connection carries)', floor(l.most_wh)) ELSE '' END
    FROM connection_limit_wh(p_meter_id, p_from, p_to) AS l (most_wh)
$$;
COMMENT ON FUNCTION beyond_limit_reason(integer, timestamptz, timestamptz, bigint, bigint, text) IS
    'p_reason, and that the energy is more than the connection carries, where it is';

CREATE OR REPLACE FUNCTION interval_edit(
    p_meter_id integer, p_buckets timestamptz[], p_import_wh bigint[], p_export_wh bigint[], p_reason text, p_actor text, p_now timestamptz,
    p_beyond_limit boolean DEFAULT false, p_import_varh bigint[] DEFAULT NULL, p_export_varh bigint[] DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    v_before interval_versions[];
    v_made integer;
BEGIN
    PERFORM require_energy(p_import_wh || p_export_wh || p_import_varh || p_export_varh);
    PERFORM require_quarters(p_buckets);
    PERFORM require_ended((SELECT max(b) FROM unnest(p_buckets) AS b) + v_quarter, p_now);
    IF NOT p_beyond_limit THEN
        PERFORM require_carried(p_meter_id, e.bucket, e.bucket + v_quarter, greatest(e.import_wh, e.export_wh), 'Wh'),
                require_carried(p_meter_id, e.bucket, e.bucket + v_quarter, greatest(e.import_varh, e.export_varh), 'varh')
        FROM unnest(p_buckets, p_import_wh, p_export_wh, p_import_varh, p_export_varh) AS e (bucket, import_wh, export_wh, import_varh, export_varh);
    END IF;
    WITH ended AS (
        UPDATE interval_versions AS v SET ended_at = greatest(p_now, v.created_at), ended_by = p_actor, ended_reason = 'edited again: ' || p_reason
        WHERE v.meter_id = p_meter_id AND v.bucket = ANY (p_buckets) AND v.method = 'edit' AND v.ended_at IS NULL
        RETURNING v
    )
    SELECT array_agg(e.v) INTO v_before FROM ended AS e;
    -- What this edit leaves out stays as the one before had it: whoever adds reactive energy takes nothing else back.
    INSERT INTO interval_versions (meter_id, bucket, method, quality, energy_import_wh, energy_export_wh, reactive_energy_import_varh,
        reactive_energy_export_varh, actor, reason, created_at)
    SELECT p_meter_id, h.bucket, 'edit', 7, h.import_wh, h.export_wh, h.import_varh, h.export_varh, p_actor,
           beyond_limit_reason(p_meter_id, h.bucket, h.bucket + v_quarter, greatest(h.import_wh, h.import_varh),
                               greatest(h.export_wh, h.export_varh), p_reason), p_now
    FROM (SELECT e.bucket, COALESCE(e.import_wh, b.energy_import_wh) AS import_wh, COALESCE(e.export_wh, b.energy_export_wh) AS export_wh,
                 COALESCE(e.import_varh, b.reactive_energy_import_varh) AS import_varh,
                 COALESCE(e.export_varh, b.reactive_energy_export_varh) AS export_varh
          FROM unnest(p_buckets, p_import_wh, p_export_wh, p_import_varh, p_export_varh) AS e (bucket, import_wh, export_wh, import_varh, export_varh)
          LEFT JOIN unnest(v_before) AS b ON b.bucket = e.bucket) AS h;
    GET DIAGNOSTICS v_made = ROW_COUNT;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) SELECT p_meter_id, min(b), max(b) FROM unnest(p_buckets) AS b;
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION interval_edit(integer, timestamptz[], bigint[], bigint[], text, text, timestamptz, boolean, bigint[], bigint[]) IS
    'Sets the energy of quarter-hours, Wh, and reactive energy, varh, NULL for a register that stays as it is; it holds until it is revoked or edited again; returns how many. Raises SG041 no quarter-hour, SG045 not ended, and SG046 more than the connection carries, unless p_beyond_limit, which the reason then says';

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
        RAISE EXCEPTION 'nobody edited meter % from % to %', meter_label(p_meter_id), p_from, p_to
            USING ERRCODE = 'SG042', HINT = 'Quarter-hours of quality 7 are edited.';
    END IF;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (p_meter_id, v_first, v_last);
    RETURN v_ended;
END
$$;
COMMENT ON FUNCTION interval_revoke(integer, timestamptz, timestamptz, text, text, timestamptz) IS
    'Ends edits and operators'' estimates of p_from to p_to: what is beneath holds again; returns how many; raises SG042 where there are none';

CREATE OR REPLACE FUNCTION interval_estimate(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_import_wh bigint, p_export_wh bigint, p_reason text, p_actor text,
    p_now timestamptz, p_beyond_limit boolean DEFAULT false, p_import_varh bigint DEFAULT NULL, p_export_varh bigint DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_made integer;
BEGIN
    PERFORM require_energy(ARRAY[p_import_wh, p_export_wh, p_import_varh, p_export_varh]);
    PERFORM require_quarters(ARRAY[p_from, p_to]);
    PERFORM require_ended(p_to, p_now);
    IF NOT p_beyond_limit THEN
        PERFORM require_carried(p_meter_id, p_from, p_to, greatest(p_import_wh, p_export_wh), 'Wh'),
                require_carried(p_meter_id, p_from, p_to, greatest(p_import_varh, p_export_varh), 'varh');
    END IF;
    IF EXISTS (SELECT FROM aggregates_15m AS a
               WHERE a.meter_id = p_meter_id AND a.bucket >= p_from AND a.bucket < p_to AND (a.samples > 0 OR a.quality <> 10)) THEN
        RAISE EXCEPTION 'meter % was read between % and %, or its register''s move is known', meter_label(p_meter_id), p_from, p_to
            USING ERRCODE = 'SG043', HINT = 'Give the span of the gap alone, or edit.';
    END IF;
    UPDATE interval_versions AS v SET ended_at = greatest(p_now, v.created_at), ended_by = p_actor, ended_reason = 'estimated again: ' || p_reason
    WHERE v.meter_id = p_meter_id AND v.bucket >= p_from AND v.bucket < p_to AND v.method <> 'edit' AND v.ended_at IS NULL;
    WITH shaped AS MATERIALIZED (
        SELECT g.* FROM shape_gap(p_meter_id, p_from, p_to, p_import_wh, p_export_wh, p_import_varh, p_export_varh) AS g
    ), alike AS (
        -- A meter whose reactive energy nobody has read yet takes it as it takes energy.
        SELECT u.*
        FROM (SELECT array_agg(g.bucket ORDER BY g.bucket) AS buckets, array_agg(g.energy_import_wh::numeric ORDER BY g.bucket) AS load FROM shaped AS g) AS w
        CROSS JOIN LATERAL unnest(w.buckets, share_out(p_import_varh, w.load), share_out(p_export_varh, w.load)) AS u (bucket, import_varh, export_varh)
    ), made AS (
        INSERT INTO interval_versions (meter_id, bucket, method, quality, energy_import_wh, energy_export_wh, reactive_energy_import_varh,
            reactive_energy_export_varh, actor, reason, created_at)
        SELECT p_meter_id, g.bucket, 'like_day', 8, g.energy_import_wh, g.energy_export_wh, COALESCE(g.reactive_energy_import_varh, a.import_varh),
               COALESCE(g.reactive_energy_export_varh, a.export_varh), p_actor,
               beyond_limit_reason(p_meter_id, p_from, p_to, greatest(p_import_wh, p_import_varh), greatest(p_export_wh, p_export_varh), p_reason), p_now
        FROM shaped AS g JOIN alike AS a USING (bucket)
        WHERE num_nonnulls(g.energy_import_wh, g.energy_export_wh, g.reactive_energy_import_varh, g.reactive_energy_export_varh, a.import_varh, a.export_varh) > 0
        RETURNING (p_import_varh IS NULL OR reactive_energy_import_varh IS NOT NULL)
              AND (p_export_varh IS NULL OR reactive_energy_export_varh IS NOT NULL) AS whole
    )
    SELECT count(*) FILTER (WHERE m.whole) INTO v_made FROM made AS m;
    IF v_made = 0 THEN
        RAISE EXCEPTION 'meter % has no like days in the three weeks before %', meter_label(p_meter_id), p_from
            USING ERRCODE = 'SG044', HINT = 'Edit the quarter-hours instead.';
    END IF;
    INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (p_meter_id, p_from, p_to - INTERVAL '15 minutes');
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION interval_estimate(integer, timestamptz, timestamptz, bigint, bigint, text, text, timestamptz, boolean, bigint, bigint) IS
    'Shares a known energy (Wh and varh, NULL for a register that is not known) of a gap out like the days before it; returns the quarter-hours; raises SG043 where there is something better, SG044 without like days, and SG041, SG045, SG046 as interval_edit() does';
GRANT EXECUTE ON FUNCTION meter_label(integer) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION connection_limit_wh(integer, timestamptz, timestamptz) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION require_quarters(timestamptz[]) TO segs_worker;
GRANT EXECUTE ON FUNCTION require_ended(timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION require_carried(integer, timestamptz, timestamptz, bigint, text) TO segs_worker;
GRANT EXECUTE ON FUNCTION beyond_limit_reason(integer, timestamptz, timestamptz, bigint, bigint, text) TO segs_worker;
GRANT EXECUTE ON FUNCTION require_energy(bigint[]) TO segs_worker;
GRANT EXECUTE ON FUNCTION interval_edit(integer, timestamptz[], bigint[], bigint[], text, text, timestamptz, boolean, bigint[], bigint[]) TO segs_worker;
GRANT EXECUTE ON FUNCTION interval_revoke(integer, timestamptz, timestamptz, text, text, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION interval_estimate(integer, timestamptz, timestamptz, bigint, bigint, text, text, timestamptz, boolean, bigint, bigint) TO segs_worker;
