-- Estimates for quarter-hours without a reading. Where both ends of a gap are known its energy is known as well, and an
-- estimate only shares it out: like the same weekdays and times of the three weeks before, in whole watt-hours that add up
-- to it exactly (each boundary is rounded once). Where the energy is not known, a flat load at the mean of those weeks, for the
-- registers of which that is so.

CREATE OR REPLACE FUNCTION estimate_gaps(p_meters integer[], p_from timestamptz[], p_to timestamptz[], p_now timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    -- A longer gap has no straight line, so none reaches farther.
    v_reach CONSTANT interval := longest_gap() + INTERVAL '1 hour';
    v_first CONSTANT timestamptz := (SELECT min(t) FROM unnest(p_from) AS t) - v_reach;
    v_last CONSTANT timestamptz := (SELECT max(t) FROM unnest(p_to) AS t) + v_reach;
    v_wanted interval_versions[];
    v_scope interval_versions[];
    v_ended integer;
    v_made integer;
BEGIN
    WITH near AS (
        SELECT s.meter_id, min(s.lo) - v_reach AS lo, max(s.hi) + v_reach AS hi
        FROM unnest(p_meters, p_from, p_to) AS s (meter_id, lo, hi)
        WHERE EXISTS (SELECT FROM aggregates_15m AS a
                      WHERE a.meter_id = s.meter_id AND a.bucket >= s.lo - v_quarter AND a.bucket < s.hi + v_quarter
                        AND a.bucket >= v_first AND a.bucket < v_last AND a.samples = 0)
           OR EXISTS (SELECT FROM interval_versions AS v
                      WHERE v.meter_id = s.meter_id AND v.bucket >= s.lo - v_quarter AND v.bucket < s.hi + v_quarter
                        AND v.ended_at IS NULL)
        GROUP BY s.meter_id
    ), base AS MATERIALIZED (
        SELECT n.meter_id, n.lo, n.hi, a.bucket, a.samples, a.quality, a.energy_import_wh, a.energy_export_wh,
               a.reactive_energy_import_varh, a.reactive_energy_export_varh
        FROM near AS n
        CROSS JOIN LATERAL (SELECT * FROM aggregates_15m AS b
                            WHERE b.meter_id = n.meter_id AND b.bucket >= n.lo AND b.bucket < n.hi
                              AND b.bucket >= v_first AND b.bucket < v_last) AS a
    ), numbered AS (
        SELECT b.*, b.bucket - row_number() OVER (PARTITION BY b.meter_id, b.quality ORDER BY b.bucket) * v_quarter AS run
        FROM base AS b WHERE b.samples = 0 AND b.quality IN (9, 10)
    ), gap AS (
        SELECT r.meter_id, r.quality, min(r.bucket) AS lo, max(r.bucket) + v_quarter AS hi, count(*) AS quarters,
               sum(r.energy_import_wh)::bigint AS import, sum(r.energy_export_wh)::bigint AS export,
               sum(r.reactive_energy_import_varh)::bigint AS reactive_import,
               sum(r.reactive_energy_export_varh)::bigint AS reactive_export,
               min(r.bucket) = r.lo OR max(r.bucket) + v_quarter = r.hi AS cut_off
        FROM numbered AS r GROUP BY r.meter_id, r.quality, r.run, r.lo, r.hi
    ), wanted AS (
        SELECT g.meter_id, e.*, 'like_day' AS method, 8 AS quality
        FROM gap AS g
        CROSS JOIN LATERAL shape_gap(g.meter_id, g.lo, g.hi, g.import, g.export, g.reactive_import, g.reactive_export) AS e
        WHERE g.quality = 9 AND g.quarters > 8 AND NOT g.cut_off
        UNION ALL
        -- A register that goes on through all minutes of a quarter-hour, from where it stood in each, is known, whatever another did.
        SELECT g.meter_id, e.bucket, CASE WHEN NOT k.import THEN e.energy_import_wh END, CASE WHEN NOT k.export THEN e.energy_export_wh END,
               CASE WHEN NOT k.reactive_import THEN e.reactive_energy_import_varh END,
               CASE WHEN NOT k.reactive_export THEN e.reactive_energy_export_varh END, 'flat', 9
        FROM gap AS g
        CROSS JOIN LATERAL flat_load(g.meter_id, g.lo, g.lo, g.hi) AS e
        CROSS JOIN LATERAL (
            SELECT count(m.energy_import_start_wh) = 15 AS import, count(m.energy_export_start_wh) = 15 AS export,
                   count(m.reactive_energy_import_start_varh) = 15 AS reactive_import,
                   count(m.reactive_energy_export_start_varh) = 15 AS reactive_export
            FROM aggregates_1m AS m
            WHERE m.meter_id = g.meter_id AND m.bucket >= e.bucket AND m.bucket < e.bucket + v_quarter
              AND m.bucket >= v_first AND m.bucket < v_last
        ) AS k
        WHERE g.quality = 10 AND NOT g.cut_off
    )
    SELECT (SELECT array_agg((NULL, w.meter_id, w.bucket, w.method, w.quality, w.energy_import_wh, w.energy_export_wh,
                              w.reactive_energy_import_varh, w.reactive_energy_export_varh, NULL, NULL, p_now, NULL, NULL, NULL)::interval_versions)
            FROM wanted AS w
            WHERE num_nonnulls(w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh) > 0),
           -- Where nothing was read and nothing is computed either, an estimate has nothing to give way to.
           (SELECT array_agg(v)
            FROM base AS b JOIN interval_versions AS v ON v.meter_id = b.meter_id AND v.bucket = b.bucket
            WHERE v.ended_at IS NULL AND v.method <> 'edit'
              AND NOT EXISTS (SELECT FROM gap AS g WHERE g.cut_off AND g.meter_id = b.meter_id AND b.bucket >= g.lo AND b.bucket < g.hi)
              AND (b.samples > 0 OR v.actor IS NULL OR b.quality = 9))
    INTO v_wanted, v_scope;

    UPDATE interval_versions AS v SET ended_at = greatest(p_now, v.created_at), ended_reason = 'superseded'
    FROM unnest(v_scope) AS s
    WHERE v.version_id = s.version_id AND v.ended_at IS NULL
      AND NOT EXISTS (
          SELECT FROM unnest(v_wanted) AS w
          WHERE (w.meter_id, w.bucket, w.method) = (v.meter_id, v.bucket, v.method)
            AND (w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh, w.reactive_energy_export_varh)
                IS NOT DISTINCT FROM (v.energy_import_wh, v.energy_export_wh, v.reactive_energy_import_varh, v.reactive_energy_export_varh));
    GET DIAGNOSTICS v_ended = ROW_COUNT;
    INSERT INTO interval_versions (meter_id, bucket, method, quality, energy_import_wh, energy_export_wh,
        reactive_energy_import_varh, reactive_energy_export_varh, created_at)
    SELECT w.meter_id, w.bucket, w.method, w.quality, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
           w.reactive_energy_export_varh, p_now
    FROM unnest(v_wanted) AS w
    ON CONFLICT (meter_id, bucket, (method = 'edit')) WHERE ended_at IS NULL DO NOTHING;
    GET DIAGNOSTICS v_made = ROW_COUNT;
    RETURN v_ended + v_made;
END
$$;
COMMENT ON FUNCTION estimate_gaps(integer[], timestamptz[], timestamptz[], timestamptz) IS
    'Brings estimates in step with the gaps in and around the given spans (whole quarter-hours): like days for more than 2 h, a flat load where a register was not believed; ends those that a reading or another straight line replaced. Returns rows ended and made';

CREATE OR REPLACE FUNCTION estimate_silence(p_limit integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    -- Days are validated up to 42 h after they began: a meter that was heard is known to have been after three days.
    v_to CONSTANT timestamptz := date_trunc('day', p_now, 'UTC') - INTERVAL '2 days';
    v_most CONSTANT interval := INTERVAL '35 days';
    v_silent record;
    v_meters integer := 0;
BEGIN
    FOR v_silent IN
        SELECT m.meter_id, m.last_actual + INTERVAL '15 minutes' AS heard_until,
               greatest(m.last_actual + INTERVAL '15 minutes', m.estimated_until) AS lo,
               least(v_to, m.last_actual + v_most) AS hi
        FROM vee_meters AS m
        WHERE m.last_actual < v_to - INTERVAL '1 day'
          AND m.estimated_until < least(v_to, m.last_actual + v_most)
        ORDER BY m.last_actual LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        INSERT INTO interval_versions (meter_id, bucket, method, quality, energy_import_wh, energy_export_wh,
            reactive_energy_import_varh, reactive_energy_export_varh, created_at)
        SELECT v_silent.meter_id, f.bucket, 'flat', 9, f.energy_import_wh, f.energy_export_wh,
               f.reactive_energy_import_varh, f.reactive_energy_export_varh, p_now
        FROM flat_load(v_silent.meter_id, v_silent.heard_until, v_silent.lo, v_silent.hi) AS f
        WHERE EXISTS (SELECT FROM device_registry AS d WHERE d.meter_id = v_silent.meter_id AND d.valid @> f.bucket)
          AND NOT EXISTS (SELECT FROM aggregates_15m AS a
                          WHERE a.meter_id = v_silent.meter_id AND a.bucket >= v_silent.lo AND a.bucket < p_now)
        ON CONFLICT (meter_id, bucket, (method = 'edit')) WHERE ended_at IS NULL DO NOTHING;
        UPDATE vee_meters SET estimated_until = v_silent.hi WHERE meter_id = v_silent.meter_id;
        v_meters := v_meters + 1;
    END LOOP;
    RETURN v_meters;
END
$$;
COMMENT ON FUNCTION estimate_silence(integer, timestamptz) IS
    'Gives a flat load to up to p_limit meters that have been silent for three days, up to two days before p_now and 35 days long; returns how many';
GRANT EXECUTE ON FUNCTION estimate_gaps(integer[], timestamptz[], timestamptz[], timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION estimate_silence(integer, timestamptz) TO segs_worker;
