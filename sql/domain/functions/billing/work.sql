CREATE OR REPLACE FUNCTION billing_enlist(p_month date, p_meters integer[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_span CONSTANT tstzrange := tstzrange(p_month::timestamp AT TIME ZONE 'UTC' - INTERVAL '1 day', (p_month + INTERVAL '1 month') AT TIME ZONE 'UTC' + INTERVAL '1 day');
    v_meters integer;
BEGIN
    INSERT INTO billing_work (month, meter_id)
    SELECT p_month, m.meter_id FROM meters m
     WHERE (p_meters IS NULL OR m.meter_id = ANY (p_meters))
       AND (EXISTS (SELECT FROM devices d
                     WHERE d.meter_id = m.meter_id AND d.valid && v_span
                       -- A device is a meter from the beginning of time on, whenever that was said.
                       AND (p_meters IS NOT NULL OR isfinite(lower(d.valid))
                            OR d.created_at < (SELECT (p_month + INTERVAL '1 month') AT TIME ZONE l.timezone FROM meter_locations l
                                                WHERE l.meter_id = d.meter_id ORDER BY l.valid DESC LIMIT 1)))
            OR EXISTS (SELECT FROM meter_tariffs t WHERE t.meter_id = m.meter_id AND t.valid && v_span)
            OR EXISTS (SELECT FROM meter_owners o WHERE o.meter_id = m.meter_id AND o.valid && v_span AND isfinite(lower(o.valid))))
    ON CONFLICT (month, meter_id) DO NOTHING;
    GET DIAGNOSTICS v_meters = ROW_COUNT;
    RETURN v_meters;
END
$$;
COMMENT ON FUNCTION billing_enlist(date, integer[]) IS 'Puts meters that a month is to be billed of on the list, all (NULL) that were registered by its end, given to somebody or assigned a tariff, or those named; how many are new there';

CREATE OR REPLACE FUNCTION billing_take(p_month date, p_meters integer[], p_begun_at timestamptz, p_limit integer, p_now timestamptz) RETURNS SETOF integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE billing_work AS w SET tried_at = p_now
      FROM (SELECT x.month, x.meter_id FROM billing_work x
             WHERE x.month = p_month AND x.state <> 'done' AND (p_meters IS NULL OR x.meter_id = ANY (p_meters)) AND (x.tried_at IS NULL OR x.tried_at < p_begun_at)
             ORDER BY x.meter_id LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t
     WHERE (w.month, w.meter_id) = (t.month, t.meter_id)
    RETURNING w.meter_id
$$;
COMMENT ON FUNCTION billing_take(date, integer[], timestamptz, integer, timestamptz) IS 'At most p_limit meters that nobody else is billing and that were not tried since a run began, for this transaction alone';

CREATE OR REPLACE FUNCTION billing_wait(p_month date, p_meters integer[], p_begun_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM billing_work x
      WHERE x.month = p_month AND x.state <> 'done' AND (p_meters IS NULL OR x.meter_id = ANY (p_meters)) AND (x.tried_at IS NULL OR x.tried_at < p_begun_at)
      ORDER BY x.meter_id LIMIT 1 FOR UPDATE;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION billing_wait(date, integer[], timestamptz) IS 'Waits while all that billing_take() left are with somebody else; whether there is one that they left too';

CREATE OR REPLACE FUNCTION billing_report(p_month date, p_meters integer[], p_states text[], p_findings jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE billing_work AS w SET state = r.state, findings = p_findings -> (r.n::integer - 1)
      FROM unnest(p_meters, p_states) WITH ORDINALITY AS r (meter_id, state, n) WHERE w.month = p_month AND w.meter_id = r.meter_id
$$;
COMMENT ON FUNCTION billing_report(date, integer[], text[], jsonb) IS 'What became of meters that were taken; p_findings has an array for each';
GRANT EXECUTE ON FUNCTION billing_enlist(date, integer[]), billing_take(date, integer[], timestamptz, integer, timestamptz),
    billing_wait(date, integer[], timestamptz), billing_report(date, integer[], text[], jsonb) TO segs_worker;
