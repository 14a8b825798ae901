-- An exchange is told by people who read two displays. Readings around it say whether that can be.

CREATE OR REPLACE FUNCTION exchange_reads(p_meter_id integer, p_at timestamptz, p_final bigint[], p_first bigint[])
RETURNS TABLE (register smallint, read text, given bigint, near_at timestamptz, near_value bigint, most bigint, fault text)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    WITH device AS (
        SELECT d.max_power_w, d.register_modulus_wh AS modulus FROM device_registry AS d
        WHERE d.meter_id = p_meter_id
        ORDER BY d.valid @> p_at DESC, d.valid DESC LIMIT 1
    ), near AS (
        SELECT k.register, 'final' AS read, p_final[k.register] AS given, n.at, n.value, n.at AS since, p_at AS until
        FROM unnest('{1,2,3,4}'::smallint[]) AS k (register)
        LEFT JOIN LATERAL read_before(p_meter_id, k.register, p_at, greatest(COALESCE(
            (SELECT max(e.starts_at) FROM register_epochs AS e
             WHERE e.meter_id = p_meter_id AND e.register = k.register AND e.starts_at < p_at),
            '-infinity'), retention_horizon('aggregates_1m', p_at))) AS n ON true
        UNION ALL
        SELECT k.register, 'first', p_first[k.register], n.at, n.value, p_at, n.at
        FROM unnest('{1,2,3,4}'::smallint[]) AS k (register)
        LEFT JOIN LATERAL read_after(p_meter_id, k.register, p_at, least(COALESCE(
            (SELECT min(e.starts_at) FROM register_epochs AS e
             WHERE e.meter_id = p_meter_id AND e.register = k.register AND e.starts_at > p_at),
            'infinity'), p_at + (p_at - retention_horizon('aggregates_1m', p_at)))) AS n ON true
    ), way AS (
        SELECT n.*, d.modulus, register_allowance(d.max_power_w, n.since, n.until) AS most,
               CASE n.read WHEN 'final' THEN n.given - n.value ELSE n.value - n.given END AS moved
        FROM near AS n CROSS JOIN device AS d
    )
    SELECT w.register, w.read, w.given, w.at, w.value, least(w.most, 9e15)::bigint,
           CASE WHEN w.moved + CASE WHEN w.moved < 0 THEN w.modulus ELSE 0 END BETWEEN 0 AND w.most THEN NULL
                WHEN w.moved < 0 THEN 'backwards'
                WHEN w.moved > w.most THEN 'beyond' END
    FROM way AS w
    WHERE w.given IS NOT NULL OR w.value IS NOT NULL
    ORDER BY w.register, w.read
$$;
COMMENT ON FUNCTION exchange_reads(integer, timestamptz, bigint[], bigint[]) IS
    'The final reads of the old and the first reads of the new registers (one element a register, 1 to 4; NULL where nobody took it) beside the readings that are nearest to them. fault: backwards where a register would have fallen, beyond where it would have moved by more than most, in Wh or varh; NULL where they agree';
GRANT EXECUTE ON FUNCTION exchange_reads(integer, timestamptz, bigint[], bigint[]) TO segs_worker, segs_readonly;

CREATE OR REPLACE FUNCTION readable_exchange_reads(p_meter_id integer, p_at timestamptz, p_final bigint[], p_first bigint[])
RETURNS TABLE (register smallint, read text, given bigint, near_at timestamptz, near_value bigint, most bigint, fault text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_granted(p_meter_id);
    RETURN QUERY SELECT e.* FROM exchange_reads(p_meter_id, p_at, p_final, p_first) AS e;
END
$$;
COMMENT ON FUNCTION readable_exchange_reads(integer, timestamptz, bigint[], bigint[]) IS 'exchange_reads() for who may read the meter; raises SG060';
GRANT EXECUTE ON FUNCTION readable_exchange_reads(integer, timestamptz, bigint[], bigint[]) TO segs_api;

CREATE OR REPLACE FUNCTION readable_last_reads(p_meter_id integer)
RETURNS TABLE (register smallint, last_read_at timestamptz, value bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_granted(p_meter_id);
    RETURN QUERY
    SELECT k.register, n.at, n.value
    FROM meter_registers AS k
    LEFT JOIN LATERAL read_before(k.meter_id, k.register, k.last_day + INTERVAL '1 day', k.last_day - INTERVAL '1 day') AS n ON true
    WHERE k.meter_id = p_meter_id ORDER BY k.register;
END
$$;
COMMENT ON FUNCTION readable_last_reads(integer) IS 'The last read of each register that the meter has, 1 to 4, in Wh or varh, for who may read it; raises SG060';
GRANT EXECUTE ON FUNCTION readable_last_reads(integer) TO segs_api;
