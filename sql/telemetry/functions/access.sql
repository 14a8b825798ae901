-- What the API's caller may read. The API says so for each transaction, in the setting segs.grants, by what the domain
-- database lets the caller see; nothing said is nothing readable. A JSON object:
--   {"17": [["2026-03-01T00:00:00Z", "infinity"]]}   readings of meter 17 from then on; any number of meters and of spans
--   {"regions": ["north"]}                           sums of a region, and who takes the most there
--   {"gateways": [3]}                                what gateway 3 says of itself
--   {"all": true}                                    everything
-- The API's role has no right to any table, and these functions stand before every one that it may call.

CREATE OR REPLACE FUNCTION require_among(p_kind text, p_names jsonb) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_grants jsonb;
BEGIN
    v_grants := nullif(current_setting('segs.grants', true), '');
    IF v_grants -> 'all' = 'true' OR (v_grants -> p_kind) @> p_names THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'not all % of % are yours to read', p_kind, p_names USING ERRCODE = 'SG060';
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'the setting segs.grants holds no grants' USING ERRCODE = 'SG060', HINT = SQLERRM;
END
$$;
COMMENT ON FUNCTION require_among(text, jsonb) IS 'Raises SG060 unless the caller may read all regions, or gateways, that are named';

CREATE OR REPLACE FUNCTION granted_spans(p_meter_id integer) RETURNS tstzmultirange
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_grants jsonb;
BEGIN
    v_grants := nullif(current_setting('segs.grants', true), '');
    IF v_grants -> 'all' = 'true' THEN
        RETURN '{(,)}';
    END IF;
    -- An end that is not there is a mistake, and not all of time: that is written infinity.
    RETURN COALESCE((SELECT range_agg(tstzrange((s.span ->> 0)::timestamptz, (s.span ->> 1)::timestamptz))
                     FROM jsonb_array_elements(v_grants -> p_meter_id::text) AS s (span)
                     WHERE s.span ->> 0 IS NOT NULL AND s.span ->> 1 IS NOT NULL), '{}');
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'the setting segs.grants holds no grants' USING ERRCODE = 'SG060', HINT = SQLERRM;
END
$$;
COMMENT ON FUNCTION granted_spans(integer) IS
    'When the caller may read the meter, by the setting segs.grants; empty where it says nothing; raises SG060 where it makes no sense';

CREATE OR REPLACE FUNCTION require_span(p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF (p_from < p_to AND isfinite(p_from) AND isfinite(p_to)) IS NOT TRUE THEN
        RAISE EXCEPTION 'from % to % is no span of time', p_from, p_to
            USING ERRCODE = 'SG062', HINT = 'Give two times, the later one last.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_span(timestamptz, timestamptz) IS 'Raises SG062 for a span that is empty, backwards or without an end';

CREATE OR REPLACE FUNCTION require_access(p_meter_id integer, p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_span(p_from, p_to);
    IF (granted_spans(p_meter_id) @> tstzrange(p_from, p_to)) IS NOT TRUE THEN
        RAISE EXCEPTION 'nothing of meter % is yours to read from % to %', p_meter_id, p_from, p_to USING ERRCODE = 'SG060';
    END IF;
END
$$;
COMMENT ON FUNCTION require_access(integer, timestamptz, timestamptz) IS
    'Raises SG060 unless the caller may read the meter in all of p_from to p_to, SG062 where that is no span';

CREATE OR REPLACE FUNCTION require_granted(p_meter_id integer) RETURNS tstzmultirange
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_granted CONSTANT tstzmultirange := granted_spans(p_meter_id);
BEGIN
    IF isempty(v_granted) THEN
        RAISE EXCEPTION 'nothing of meter % is yours to read', p_meter_id USING ERRCODE = 'SG060';
    END IF;
    RETURN v_granted;
END
$$;
COMMENT ON FUNCTION require_granted(integer) IS 'granted_spans(); raises SG060 where there are none';

CREATE OR REPLACE FUNCTION readable_spans(p_meter_id integer, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (start_time timestamptz, end_time timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_span(p_from, p_to);
    RETURN QUERY
    SELECT lower(u.part), upper(u.part)
    FROM unnest(require_granted(p_meter_id) * tstzmultirange(tstzrange(p_from, p_to))) AS u (part) ORDER BY u.part;
END
$$;
COMMENT ON FUNCTION readable_spans(integer, timestamptz, timestamptz) IS
    'The parts of p_from to p_to in which the caller may read the meter, in order, none where they lie elsewhere; raises SG060 where the caller may not read it at any time, SG062';

-- A quarter-hour in which one owner followed another belongs to neither.
CREATE OR REPLACE FUNCTION readable_part(
    p_meter_id integer, p_from timestamptz, p_to timestamptz, p_step interval, OUT lo timestamptz, OUT hi timestamptz
)
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_granted CONSTANT tstzmultirange := granted_spans(p_meter_id);
BEGIN
    PERFORM require_access(p_meter_id, p_from, p_to);
    lo := date_bin(p_step, p_from, '2000-01-01 00:00+00');
    IF NOT v_granted @> tstzrange(lo, p_to) THEN
        lo := lo + p_step;
    END IF;
    hi := date_bin(p_step, p_to, '2000-01-01 00:00+00');
    IF hi < p_to AND v_granted @> tstzrange(p_from, hi + p_step) THEN
        hi := hi + p_step;
    END IF;
END
$$;
COMMENT ON FUNCTION readable_part(integer, timestamptz, timestamptz, interval) IS
    'From when to when the whole steps are that p_from to p_to touches; one of which not all is the caller''s to read is left out. Raises SG060, SG062';
GRANT EXECUTE ON FUNCTION readable_spans(integer, timestamptz, timestamptz) TO segs_api;
