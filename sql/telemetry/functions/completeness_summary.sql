-- How complete the readings of a meter are, for who owns it.

CREATE OR REPLACE FUNCTION completeness_summary(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_now timestamptz, p_stretches integer DEFAULT 20
) RETURNS TABLE (
    start_time timestamptz, end_time timestamptz, gateway text, device text, interval_ms integer, first_time timestamptz,
    last_time timestamptz, expected bigint, received bigint, missing bigint, quarantined bigint, received_percent double precision,
    gap_count bigint, stretches jsonb, reasons jsonb
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    -- Of readings that may be gone nobody can say that they never came.
    v_from CONSTANT timestamptz := greatest(p_from, retention_horizon('raw_readings', p_now));
    v_to CONSTANT timestamptz := least(p_to, p_now);
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    RETURN QUERY
    SELECT v_from, v_to, c.gateway, c.device, c.interval_ms, c.first_time, c.last_time, c.expected, c.received, c.missing,
           c.quarantined, 100.0::double precision * c.received / nullif(c.expected, 0), c.gap_count, c.stretches, c.reasons
    FROM completeness_of(ARRAY[p_meter_id], v_from, v_to, true, p_stretches) AS c
    WHERE v_from < v_to;
END
$$;
COMMENT ON FUNCTION completeness_summary(integer, timestamptz, timestamptz, timestamptz, integer) IS
    'meter_completeness() of a meter from p_from to p_to, by p_now and as far back as readings are kept, a row a registration: readings expected, received and missing with their reasons, and the newest p_stretches of what is missing. No row where no such time is left. Raises SG060, SG062';
GRANT EXECUTE ON FUNCTION completeness_summary(integer, timestamptz, timestamptz, timestamptz, integer) TO segs_api;
