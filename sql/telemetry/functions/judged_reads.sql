-- Which reads of a register are left out:
--   glitch     a read lower or higher than both neighbours, while the next one goes on from the one before. So is what a clock
--              that was wrong by seconds has brought into disorder, unless the register may begin again or have wrapped: a read
--              whose time was corrected, where one of the 30 s beside it that was not contradicts it; and one lower than
--              another of the 30 s before, up to which the register has come again within 30 s
--
-- Planned as part of the statement that calls it, and so without a setting: what it names is qualified.

CREATE OR REPLACE FUNCTION judged_reads(
    p_meter_id integer, p_register smallint, p_begins timestamptz, p_ends timestamptz, p_since timestamptz, p_until timestamptz
) RETURNS TABLE (
    epoch bigint, at timestamptz, value bigint, before_at timestamptz, before bigint, left_out boolean,
    max_power_w double precision, interval_ms integer, modulus bigint, resets boolean
)
LANGUAGE sql STABLE
AS $$
    WITH read AS MATERIALIZED (
        SELECT w.time AS at, w.flags & 2 <> 0 AS corrected,
               public.register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                     w.reactive_energy_export_varh) AS value
        FROM public.raw_readings AS w
        WHERE w.meter_id = p_meter_id AND w.time >= p_begins AND w.time <= p_ends AND w.time >= p_since AND w.time <= p_until
          AND public.register_value(p_register, w.energy_import_wh, w.energy_export_wh, w.reactive_energy_import_varh,
                                    w.reactive_energy_export_varh) IS NOT NULL
    ), epoch AS MATERIALIZED (
        SELECT e.starts_at, e.final_value, e.first_value, row_number() OVER (ORDER BY e.starts_at) AS nth
        FROM public.register_epochs AS e
        WHERE e.meter_id = p_meter_id AND e.register = p_register
          AND e.starts_at >= p_begins - public.longest_gap() AND e.starts_at <= p_ends + public.longest_gap()
    ), point AS (
        SELECT r.at, r.value, r.corrected, (SELECT count(*) FROM epoch AS e WHERE e.starts_at <= r.at) AS epoch FROM read AS r
        UNION ALL
        -- At an exchange the old register was read for the last time, and the new one, if it was not read then, for the first.
        SELECT e.starts_at, v.value, false, e.nth - v.behind
        FROM epoch AS e
        CROSS JOIN LATERAL (VALUES (e.final_value, 1), (e.first_value, 0)) AS v (value, behind)
        WHERE v.value IS NOT NULL AND (v.behind = 1 OR NOT EXISTS (SELECT FROM read AS r WHERE r.at = e.starts_at))
    ), rated AS (
        SELECT p.*, COALESCE(d.max_power_w, 1e6) AS max_power_w, COALESCE(d.interval_ms, 60000) AS interval_ms,
               d.register_modulus_wh AS modulus, COALESCE(d.register_resets, false) AS resets
        FROM point AS p
        LEFT JOIN public.device_registry AS d ON d.meter_id = p_meter_id AND d.valid @> p.at
    ), placed AS MATERIALIZED (
        -- How far a register may fall in the disorder of a clock and yet be itself; not at all where it may begin again or wrap.
        SELECT r.*, lag(r.at) OVER w AS before_at, lag(r.value) OVER w AS before,
               CASE WHEN NOT r.resets THEN least(f.most, r.modulus - f.most - 1) ELSE 0 END AS allowance,
               max(r.value) FILTER (WHERE NOT r.corrected) OVER (w RANGE BETWEEN public.clock_disorder() PRECEDING AND CURRENT ROW) AS surely_before,
               min(r.value) FILTER (WHERE NOT r.corrected) OVER (w RANGE BETWEEN CURRENT ROW AND public.clock_disorder() FOLLOWING) AS surely_after
        FROM rated AS r
        CROSS JOIN LATERAL (SELECT public.register_allowance(r.max_power_w, r.at - public.clock_disorder(), r.at + public.clock_disorder())) AS f (most)
        WINDOW w AS (PARTITION BY r.epoch ORDER BY r.at)
    ), in_place AS MATERIALIZED (
        SELECT p.*, p.corrected AND COALESCE(p.surely_before - p.value BETWEEN 1 AND p.allowance
                                             OR p.value - p.surely_after BETWEEN 1 AND p.allowance, false) AS misplaced
        FROM placed AS p
    ), between_neighbours AS (
        SELECT i.epoch, i.at, i.value, i.max_power_w, i.interval_ms, i.modulus, i.resets, i.allowance,
               lag(i.at) OVER w AS before_at, lag(i.value) OVER w AS before, lead(i.at) OVER w AS after_at, lead(i.value) OVER w AS after,
               max(i.value) OVER (w RANGE BETWEEN public.clock_disorder() PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) AS highest_before,
               max(i.value) OVER (w RANGE BETWEEN CURRENT ROW AND public.clock_disorder() FOLLOWING EXCLUDE CURRENT ROW) AS highest_after
        FROM in_place AS i WHERE NOT i.misplaced
        WINDOW w AS (PARTITION BY i.epoch ORDER BY i.at)
    ), dipped AS (
        SELECT n.*, COALESCE(n.after - n.before BETWEEN 0 AND public.register_allowance(n.max_power_w, n.before_at, n.after_at), false) AS goes_on,
               COALESCE(n.highest_before - n.value BETWEEN 1 AND n.allowance AND n.highest_after - n.highest_before BETWEEN 0 AND n.allowance,
                        false) AS regained
        FROM between_neighbours AS n
    )
    SELECT d.epoch, d.at, d.value, d.before_at, d.before,
           d.dip OR d.goes_on AND d.value > d.after AND NOT lag(d.dip, 1, false) OVER w AND NOT lead(d.dip, 1, false) OVER w,
           d.max_power_w, d.interval_ms, d.modulus, d.resets
    FROM (SELECT p.*, p.regained OR p.goes_on AND p.value < p.before AND p.value < p.after AS dip FROM dipped AS p) AS d
    WINDOW w AS (PARTITION BY d.epoch ORDER BY d.at)
    UNION ALL
    SELECT i.epoch, i.at, i.value, i.before_at, i.before, true, i.max_power_w, i.interval_ms, i.modulus, i.resets
    FROM in_place AS i WHERE i.misplaced
$$;
COMMENT ON FUNCTION judged_reads(integer, smallint, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'Reads of a register from p_begins to p_ends, both within p_since to p_until, which are constants to the planner: epoch by epoch with the read before, what the meter is known by then, and whether the read is left out; final and first reads of an exchange are among them';
GRANT EXECUTE ON FUNCTION judged_reads(integer, smallint, timestamptz, timestamptz, timestamptz, timestamptz) TO segs_worker;
