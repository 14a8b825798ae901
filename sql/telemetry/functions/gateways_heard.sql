-- What gateways delivered, and how they last said that they are doing. The ledger is not read.

CREATE OR REPLACE FUNCTION gateways_heard(p_gateways integer[])
RETURNS TABLE (
    gateway_id integer, last_batch_at timestamptz, batches bigint, readings bigint, last_stream uuid, last_seq bigint,
    last_report_at timestamptz, clock_ahead_s double precision, report jsonb
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_among('gateways', to_jsonb(p_gateways));
    RETURN QUERY
    SELECT g.gateway_id, t.last_batch_at, COALESCE(t.batches, 0), COALESCE(t.readings, 0), t.last_stream, t.last_seq,
           r.received_at, r.clock_ahead_s, r.report
    FROM (SELECT DISTINCT n FROM unnest(p_gateways) AS n) AS g (gateway_id)
    LEFT JOIN (SELECT d.gateway_id, sum(d.batches)::bigint AS batches, sum(d.readings)::bigint AS readings,
                      max(d.last_received_at) AS last_batch_at,
                      (array_agg(d.last_stream ORDER BY d.last_received_at DESC, d.tally_id DESC))[1] AS last_stream,
                      (array_agg(d.last_seq ORDER BY d.last_received_at DESC, d.tally_id DESC))[1] AS last_seq
               FROM delivery_tallies AS d WHERE d.gateway_id = ANY (p_gateways) GROUP BY d.gateway_id) AS t
           ON t.gateway_id = g.gateway_id
    LEFT JOIN gateway_reports AS r ON r.gateway_id = g.gateway_id
    WHERE t.gateway_id IS NOT NULL OR r.gateway_id IS NOT NULL
    ORDER BY g.gateway_id;
END
$$;
COMMENT ON FUNCTION gateways_heard(integer[]) IS
    'Batches and readings that gateways delivered, the last of them, and their last report; no row for one that was never heard. Raises SG060 where one of them is not the caller''s to read';
GRANT EXECUTE ON FUNCTION gateways_heard(integer[]) TO segs_api;
