-- How an alert goes from one window of measurements to the next. What is open goes on by it, what comes late is looked at by it
-- afterwards, and what a rule would have found is told by it.

CREATE OR REPLACE FUNCTION alert_level(p_value double precision, p_above boolean, p_raise_at double precision, p_clear_at double precision, p_worse_at double precision)
RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_above AND p_value > p_worse_at OR NOT p_above AND p_value < p_worse_at THEN 3
    WHEN p_above AND p_value > p_raise_at OR NOT p_above AND p_value < p_raise_at THEN 2
    WHEN p_above AND p_value > p_clear_at OR NOT p_above AND p_value < p_clear_at THEN 1
    ELSE 0 END::smallint;
COMMENT ON FUNCTION alert_level(double precision, boolean, double precision, double precision, double precision) IS 'What a value is to a rule: 3 beyond its worse threshold, 2 beyond the one that raises, 1 between that and the one that clears, 0 clear';

CREATE OR REPLACE FUNCTION alert_step(
    p_state text, p_since timestamptz, p_cleared_since timestamptz, p_seen_until timestamptz,
    p_level smallint, p_at timestamptz, p_width interval, p_for interval, p_keep interval,
    OUT state text, OUT since timestamptz, OUT cleared_since timestamptz)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- One window may be missing; of a longer time nobody knows, and it counts neither for nor against.
    v_gap CONSTANT boolean := coalesce(p_at - p_width > p_seen_until + p_width, false);
BEGIN
    state := p_state;
    since := p_since;
    cleared_since := p_cleared_since;
    IF p_level >= 2 THEN
        cleared_since := NULL;
        IF state = 'ok' OR state = 'pending' AND v_gap THEN
            since := p_at - p_width;
            state := 'pending';
        ELSIF state = 'clearing' THEN
            state := 'firing';
        END IF;
        IF state = 'pending' AND p_at - since >= p_for THEN
            state := 'firing';
        END IF;
    ELSIF state = 'pending' OR state = 'dismissed' AND p_level = 0 THEN
        state := 'ok';
    ELSIF p_level = 1 THEN
        cleared_since := NULL;
        IF state = 'clearing' THEN
            state := 'firing';
        END IF;
    ELSIF state IN ('firing', 'clearing') THEN
        IF state = 'firing' OR v_gap THEN
            cleared_since := p_at - p_width;
        END IF;
        state := CASE WHEN p_at - cleared_since >= p_keep THEN 'ok' ELSE 'clearing' END;
    END IF;
END
$$;
COMMENT ON FUNCTION alert_step(text, timestamptz, timestamptz, timestamptz, smallint, timestamptz, interval, interval, interval) IS
    'The state after a window of p_width that ended at p_at: ok, pending until it has lasted p_for, firing, clearing until it was over for p_keep, dismissed (somebody closed it, and it is not over)';

CREATE OR REPLACE FUNCTION alert_episodes(
    p_ends timestamptz[], p_levels smallint[], p_values double precision[], p_above boolean, p_width interval, p_for interval, p_keep interval)
RETURNS TABLE (started_at timestamptz, fired_at timestamptz, resolved_at timestamptz, last_at timestamptz, worst double precision, worse boolean)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
DECLARE
    v_state text := 'ok';
    v_since timestamptz;
    v_cleared timestamptz;
    v_seen timestamptz;
    v_was text;
    v_step record;
BEGIN
    FOR v_nth IN 1 .. coalesce(cardinality(p_ends), 0) LOOP
        -- Nothing begins with a window that raises nothing, and most are such.
        CONTINUE WHEN v_state = 'ok' AND p_levels[v_nth] < 2;
        v_was := v_state;
        v_step := alert_step(v_was, v_since, v_cleared, v_seen, p_levels[v_nth], p_ends[v_nth], p_width, p_for, p_keep);
        v_state := v_step.state;
        v_since := v_step.since;
        v_cleared := v_step.cleared_since;
        v_seen := p_ends[v_nth];
        IF v_state = 'pending' AND v_since = v_seen - p_width OR v_was = 'ok' AND v_state = 'firing' THEN
            worst := NULL;
            worse := false;
        END IF;
        IF v_state <> 'ok' THEN
            worst := CASE WHEN p_above THEN greatest(worst, p_values[v_nth]) ELSE least(worst, p_values[v_nth]) END;
            worse := worse OR p_levels[v_nth] = 3;
            last_at := v_seen;
        END IF;
        IF v_state = 'firing' AND v_was IN ('ok', 'pending') THEN
            started_at := v_since;
            fired_at := v_seen;
        ELSIF v_state = 'ok' AND v_was IN ('firing', 'clearing') THEN
            resolved_at := v_seen;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF v_state IN ('firing', 'clearing') THEN
        resolved_at := NULL;
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION alert_episodes(timestamptz[], smallint[], double precision[], boolean, interval, interval, interval) IS
    'The alerts that a rule raises over windows of one subject, in order of time: their ends, levels and values. resolved_at is NULL for one that is open at the end, worst the value furthest out';
GRANT EXECUTE ON FUNCTION alert_level(double precision, boolean, double precision, double precision, double precision) TO segs_worker;
GRANT EXECUTE ON FUNCTION alert_step(text, timestamptz, timestamptz, timestamptz, smallint, timestamptz, interval, interval, interval) TO segs_worker;
GRANT EXECUTE ON FUNCTION alert_episodes(timestamptz[], smallint[], double precision[], boolean, interval, interval, interval) TO segs_worker;
