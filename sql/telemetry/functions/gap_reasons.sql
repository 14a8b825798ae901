-- How many readings a gap lacks, and for which reasons.

-- By the rate: a poll that was late is followed by one that is early by as much, and neither makes one missing. So what
-- a gap has beyond whole intervals is owed, until shorter ones repay it or it has become an interval. That one is missing
-- where the most of it came about.
CREATE OR REPLACE FUNCTION lacking_readings(p_from timestamptz[], p_to timestamptz[], p_before bigint[], p_readings bigint,
                                            p_last timestamptz, p_interval_ms integer, p_whole boolean, p_in_parts boolean)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
DECLARE
    -- So near to an interval is one, if the readings behind it are not late: those before it were early or late themselves.
    v_nearly CONSTANT double precision := 0.9;
    v_exactly CONSTANT double precision := 1 - 1e-6;
    v_count CONSTANT integer := COALESCE(cardinality(p_from), 0);
    v_missing bigint[] := array_fill(0::bigint, ARRAY[v_count]);
    v_owed double precision := 0;
    v_widest integer;
    v_width double precision := 0;
    v_at timestamptz;
    v_steps bigint;
    v_length double precision;
BEGIN
    FOR i IN 1 .. v_count + 1 LOOP
        IF i > 1 AND v_owed > 0 THEN
            -- The readings since the gap before.
            v_steps := CASE WHEN i > v_count THEN p_readings ELSE p_before[i] END - p_before[i - 1] - 1;
            IF v_steps > 0 THEN
                v_at := CASE WHEN i > v_count THEN p_last ELSE p_from[i] END;
                v_owed := greatest(0, v_owed + least(0, date_part('epoch', v_at - p_to[i - 1]) * 1000 / p_interval_ms - v_steps));
                IF v_owed >= v_nearly THEN
                    v_missing[v_widest] := v_missing[v_widest] + 1;
                    v_owed := v_owed - 1;
                    v_width := 0;
                END IF;
            END IF;
        END IF;
        EXIT WHEN i > v_count;
        v_length := date_part('epoch', p_to[i] - p_from[i]) * 1000 / p_interval_ms;
        IF v_owed >= v_nearly AND round(v_length) > 1 AND abs(v_length - round(v_length)) <= 1 - v_nearly THEN
            -- It is as late as the one before, whole intervals on: neither of them is late.
            v_missing[v_widest] := v_missing[v_widest] + 1;
            v_owed := v_owed - 1;
        END IF;
        IF i = 1 AND p_whole AND p_before[1] = 0 THEN
            -- From the beginning of the window: nobody knows how long before it the last reading was.
            v_missing[1] := floor(v_length + 1 - v_exactly);
        ELSIF p_in_parts THEN
            v_missing[i] := greatest(0, round(v_length) - 1);
        ELSE
            IF v_owed <= 0 OR v_length - floor(v_length) >= v_width THEN
                v_widest := i;
                v_width := v_length - floor(v_length);
            END IF;
            v_missing[i] := greatest(0, floor(v_length) - 1);
            v_owed := v_owed + v_length - 1 - v_missing[i];
            IF v_owed >= v_exactly THEN
                v_missing[v_widest] := v_missing[v_widest] + 1;
                v_owed := v_owed - 1;
                v_width := 0;
            END IF;
        END IF;
    END LOOP;
    RETURN v_missing;
END
$$;
COMMENT ON FUNCTION lacking_readings(timestamptz[], timestamptz[], bigint[], bigint, timestamptz, integer, boolean, boolean) IS
    'How many readings each gap of a meter lacks by its rate, one each p_interval_ms. Gaps are from p_from to p_to, with p_before readings before each, of p_readings up to p_last; p_whole: they may begin and end with a window. p_in_parts: several rows a reading, which repay nothing';

-- A gap is the open range between two readings that lie apart; one that begins with the window and not with a reading
-- contains its beginning. The readings that it lacks are slots at equal distances.
CREATE OR REPLACE FUNCTION gap_readings_before(p_gap tstzrange, p_readings bigint, p_at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(p_readings, greatest(0, pg_catalog.ceil(
    pg_catalog.date_part('epoch', p_at - pg_catalog.lower(p_gap)) / pg_catalog.date_part('epoch', pg_catalog.upper(p_gap) - pg_catalog.lower(p_gap))
    * (p_readings + CASE WHEN pg_catalog.lower_inc(p_gap) THEN 0 ELSE 1 END)
    + CASE WHEN pg_catalog.lower_inc(p_gap) THEN 0.5 ELSE 0 END) - 1))::bigint;
COMMENT ON FUNCTION gap_readings_before(tstzrange, bigint, timestamptz) IS
    'How many of the p_readings that a gap lacks belong before p_at';

CREATE OR REPLACE FUNCTION clamped_time(p_us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.to_timestamp(least(greatest(p_us / 1e6, -1e11), 2e11));
COMMENT ON FUNCTION clamped_time(bigint) IS 'The time of microseconds since 1970, or one before or after all that is of interest';

CREATE OR REPLACE FUNCTION missing_reasons(p_gateway_id integer, p_device text, p_from timestamptz, p_to timestamptz, p_around interval)
RETURNS TABLE (rank integer, reason text, detail text, spans tstzmultirange)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    -- A whole reading that waits in the quarantine explains its own slot and no other.
    SELECT CASE q.reason WHEN 'unknown_device' THEN 1 WHEN 'future' THEN 2 ELSE 3 END, 'quarantined', q.reason,
           range_agg(tstzrange(t.time - p_around, t.time + p_around, '[]'))
    FROM quarantine AS q
    CROSS JOIN LATERAL (SELECT clamped_time(e.time_us::bigint) AS time FROM jsonb_array_elements_text(q.block -> 'time_us') AS e (time_us)) AS t
    WHERE q.released_at IS NULL AND q.gateway_id = p_gateway_id AND q.device = p_device
      AND q.reason IN ('unknown_device', 'future', 'too_old') AND q.first_time < p_to AND q.last_time >= p_from
      AND t.time >= p_from AND t.time < p_to
    GROUP BY q.reason
    UNION ALL
    -- Between polls that were left out others were made: their readings may be gone, or wait, for another reason.
    SELECT CASE n.kind WHEN 'silent' THEN 4 WHEN 'not_running' THEN 5 WHEN 'thinned' THEN 6 WHEN 'overflowed' THEN 7
                       WHEN 'damaged' THEN 8 WHEN 'refused' THEN 9 ELSE 11 END,
           CASE WHEN n.kind IN ('silent', 'not_running', 'overrun') THEN 'never_polled' ELSE 'thinned' END, n.kind,
           range_agg(tstzrange(greatest(n.first_time, p_from) - around.time, least(n.last_time, p_to) + around.time, '[]'))
    FROM gateway_notes AS n
    -- What the rate finds may lie a few readings beside what was left out.
    CROSS JOIN LATERAL (SELECT p_around * CASE n.kind WHEN 'overrun' THEN 10 ELSE 1 END AS time) AS around
    WHERE n.gateway_id = p_gateway_id AND tstzrange(n.first_time, n.last_time, '[]') && tstzrange(p_from, p_to)
      AND n.kind IN ('silent', 'not_running', 'thinned', 'overflowed', 'damaged', 'refused', 'overrun')
      -- What is said of a device holds for all of its channels.
      AND (n.device IS NULL OR n.device = p_device OR n.device = split_part(p_device, '/', 1))
    GROUP BY n.kind
    UNION ALL
    SELECT 10, 'in_gateway_buffer', '', range_agg(tstzrange(greatest(s.first_time, p_from) - p_around, least(s.last_time, p_to) + p_around, '[]'))
    FROM gateway_reports AS r
    CROSS JOIN LATERAL (SELECT clamped_time((e.span ->> 0)::bigint) AS first_time, clamped_time((e.span ->> 1)::bigint) AS last_time
                        FROM jsonb_array_elements(r.report #> '{backlog,spans}') AS e (span)) AS s
    WHERE r.gateway_id = p_gateway_id AND s.first_time < p_to AND s.last_time >= p_from AND s.first_time <= s.last_time
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION missing_reasons(integer, text, timestamptz, timestamptz, interval) IS
    'Why readings of a device may be missing from p_from to p_to: spans by reason and detail, each wider by p_around at both ends, of polls left out by ten times that. Where several hold, the lowest rank counts';

CREATE OR REPLACE FUNCTION gap_reasons(p_gaps tstzrange[], p_missing bigint[], p_interval_ms integer, p_gateway_id integer,
                                       p_device text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (first_time timestamptz, last_time timestamptz, missing bigint, reason text, detail text, number bigint)
LANGUAGE sql STABLE STRICT
SET search_path = public, pg_temp
AS $$
    WITH gaps AS MATERIALIZED (
        SELECT tstzmultirange(VARIADIC p_gaps) AS ranges
    ), reasons AS MATERIALIZED (
        SELECT r.* FROM missing_reasons(p_gateway_id, p_device, p_from, p_to, make_interval(secs => p_interval_ms / 2000.0)) AS r
    ), claimed AS (
        SELECT r.reason, r.detail, g.ranges * r.spans
                   - COALESCE(range_agg(r.spans) OVER (ORDER BY r.rank ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW), '{}') AS parts
        FROM reasons AS r CROSS JOIN gaps AS g
        UNION ALL
        SELECT 'unknown', '', g.ranges - COALESCE((SELECT range_agg(r.spans) FROM reasons AS r), '{}') FROM gaps AS g
    ), gap AS MATERIALIZED (
        SELECT g.range, g.number, g.readings
        FROM unnest(p_gaps, p_missing) WITH ORDINALITY AS g (range, readings, number)
    ), placed AS (
        -- Each part lies in the gap that begins last before it.
        SELECT p.*, max(p.gap) OVER (ORDER BY lower(p.range), p.gap NULLS LAST) AS number
        FROM (SELECT g.range, g.number AS gap, NULL::text AS reason, NULL::text AS detail FROM gap AS g
              UNION ALL SELECT u.range, NULL, c.reason, c.detail FROM claimed AS c CROSS JOIN unnest(c.parts) AS u (range)) AS p
    ), counted AS (
        SELECT p.number, g.range AS gap, p.range, p.reason, p.detail,
               gap_readings_before(g.range, g.readings, upper(p.range)) - gap_readings_before(g.range, g.readings, lower(p.range)) AS missing
        FROM placed AS p JOIN gap AS g USING (number)
        WHERE p.gap IS NULL
    ), begun AS (
        SELECT c.*, (lag(c.reason) OVER w, lag(c.detail) OVER w) IS DISTINCT FROM (c.reason, c.detail) AS fresh
        FROM counted AS c
        WHERE c.missing > 0
        WINDOW w AS (PARTITION BY c.number ORDER BY c.range)
    ), run AS (
        SELECT b.number, b.gap, b.reason, b.detail, sum(b.missing)::bigint AS missing, max(upper(b.range)) AS ends
        FROM (SELECT b.*, count(*) FILTER (WHERE b.fresh) OVER (PARTITION BY b.number ORDER BY b.range) AS run FROM begun AS b) AS b
        GROUP BY b.number, b.gap, b.run, b.reason, b.detail
    )
    -- A part without a slot of its own belongs to its neighbour.
    SELECT COALESCE(lag(r.ends) OVER w, lower(r.gap)), CASE WHEN lead(r.ends) OVER w IS NULL THEN upper(r.gap) ELSE r.ends END,
           r.missing, r.reason, r.detail, row_number() OVER (ORDER BY r.number, r.ends)
    FROM run AS r
    WINDOW w AS (PARTITION BY r.number ORDER BY r.ends)
$$;
COMMENT ON FUNCTION gap_reasons(tstzrange[], bigint[], integer, integer, text, timestamptz, timestamptz) IS
    'The gaps of a device in order of time, which lack p_missing readings each, split where the reason changes: never_polled, thinned, quarantined, in_gateway_buffer or unknown; detail is the kind of note, or what the quarantine says. Numbered in order of time';

GRANT EXECUTE ON FUNCTION lacking_readings(timestamptz[], timestamptz[], bigint[], bigint, timestamptz, integer, boolean, boolean)
    TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION gap_readings_before(tstzrange, bigint, timestamptz) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION clamped_time(bigint) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION missing_reasons(integer, text, timestamptz, timestamptz, interval) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION gap_reasons(tstzrange[], bigint[], integer, integer, text, timestamptz, timestamptz)
    TO segs_worker, segs_readonly;
