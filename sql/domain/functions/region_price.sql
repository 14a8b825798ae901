-- Prices of regions: their rules, the decision by a load, what operators set for a while, and who is told. A price takes force
-- with the next quarter-hour after it was decided on, and never before.

CREATE OR REPLACE FUNCTION region_price_terms(p_region text)
RETURNS TABLE (currency text, base_price numeric, thresholds numeric[], factors numeric[], hysteresis numeric, coverage numeric, settles interval, waits interval)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT r.currency, r.base_price, coalesce(r.thresholds_percent, s.thresholds_percent), coalesce(r.factors, s.factors),
           coalesce(r.hysteresis_points, s.hysteresis_points), coalesce(r.coverage_percent, s.coverage_percent),
           make_interval(secs => s.settle_s), make_interval(secs => s.wait_s)
      FROM region_price_rules AS r CROSS JOIN price_settings AS s WHERE r.region = p_region
$$;
COMMENT ON FUNCTION region_price_terms(text) IS 'The rules of a region''s price, with those of all regions where it has none of its own; no row without a price';

CREATE OR REPLACE FUNCTION region_price_spans(p_region text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, currency text, price numeric, base_price numeric, factor numeric, tier smallint, load_percent numeric,
               reason text, price_override_id bigint, override_reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH own AS (
        SELECT p.valid FROM region_prices AS p WHERE p.region = p_region AND p.valid && tstzrange(p_from, p_to)
    ), hull AS (
        -- Also what was set before p_from or will be after p_to says when a price begins and ends.
        SELECT tstzrange(min(lower(w.valid)), max(upper(w.valid))) AS span FROM own AS w
    ), cut AS (
        SELECT lower(w.valid) AS at FROM own AS w
        UNION
        SELECT e.at FROM hull AS h JOIN price_overrides AS o ON o.region = p_region AND o.in_force && h.span
         CROSS JOIN LATERAL (VALUES (lower(o.in_force)), (upper(o.in_force))) AS e (at)
    ), piece AS (
        SELECT c.at, lead(c.at, 1, 'infinity') OVER (ORDER BY c.at) AS next_at FROM cut AS c
    )
    SELECT c.at, e.at, p.currency,
           coalesce(o.price, CASE WHEN o.price_override_id IS NULL THEN p.price ELSE round(p.base_price * o.factor, 8) END), p.base_price,
           CASE WHEN o.price_override_id IS NULL THEN p.factor ELSE o.factor END, CASE WHEN o.price_override_id IS NULL THEN p.tier END,
           CASE WHEN o.price_override_id IS NULL THEN p.load_percent END, CASE WHEN o.price_override_id IS NULL THEN p.reason ELSE 'override' END,
           o.price_override_id, o.reason
      FROM piece AS c
      JOIN region_prices AS p ON p.region = p_region AND p.valid @> c.at
      LEFT JOIN price_overrides AS o ON o.region = p_region AND o.in_force @> c.at
     CROSS JOIN LATERAL (SELECT least(upper(p.valid), c.next_at) AS at) AS e
     WHERE c.at < p_to AND e.at > p_from
$$;
COMMENT ON FUNCTION region_price_spans(text, timestamptz, timestamptz) IS 'The prices of a region that are in force at any time of a span, each from when to when: an override before the region''s own. Disjoint, without gaps from the first price on; ends_at infinity where nothing is known to follow';

CREATE OR REPLACE FUNCTION region_price_segments(p_region text, p_currency text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, price numeric, tier smallint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH span AS (
        SELECT s.*, row_number() OVER (ORDER BY s.starts_at) - row_number() OVER (PARTITION BY s.price, s.tier ORDER BY s.starts_at) AS island
          FROM region_price_spans(p_region, p_from, p_to) AS s WHERE s.currency = p_currency
    )
    SELECT greatest(min(s.starts_at), p_from), least(max(s.ends_at), p_to), s.price, s.tier FROM span AS s GROUP BY s.price, s.tier, s.island ORDER BY 1
$$;
COMMENT ON FUNCTION region_price_segments(text, text, timestamptz, timestamptz) IS 'The parts of a span in which a region has one price of this currency, and one tier, as bills are made of them; none where it has no price';

-- Every decision holds this row: two at once come one after the other, and time does not run back between them.
CREATE OR REPLACE FUNCTION region_price_hold(p_region text, p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_now timestamptz := p_now;
    v_began CONSTANT timestamptz := clock_timestamp();
BEGIN
    -- Whoever waits for another decision has p_now from before: a quarter-hour may have begun meanwhile.
    PERFORM FROM region_price_state WHERE region = p_region FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        PERFORM FROM region_price_state WHERE region = p_region FOR UPDATE;
        v_now := p_now + greatest(clock_timestamp() - v_began, INTERVAL '0');
    END IF;
    UPDATE region_price_state SET told_until = greatest(told_until, v_now) WHERE region = p_region RETURNING told_until INTO v_now;
    IF NOT FOUND THEN
        IF NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region) THEN
            RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
        END IF;
        RAISE EXCEPTION 'region % has no price of its own', p_region USING ERRCODE = 'SG093';
    END IF;
    RETURN v_now;
END
$$;
COMMENT ON FUNCTION region_price_hold(text, timestamptz) IS 'Holds a region''s price until the transaction ends; the time that it is, after what was waited for it, and never one before the decision before. Raises SG024 no such region, SG093 no price';

CREATE OR REPLACE FUNCTION region_price_tell(p_region text, p_from timestamptz, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_told integer;
BEGIN
    INSERT INTO outbox (user_id, channel, template, payload, created_at, expires_at)
    WITH price AS (
        SELECT s.* FROM region_price_spans(p_region, p_from, p_from + INTERVAL '1 microsecond') AS s
    ), dynamic AS (
        SELECT DISTINCT t.code FROM tariffs AS t WHERE t.valid @> p_from AND (t.document ->> 'regional_price')::boolean
    ), concerned AS (
        SELECT DISTINCT o.user_id
          FROM meter_locations AS l
          JOIN meter_owners AS o ON o.meter_id = l.meter_id AND o.valid @> p_from
          JOIN meter_tariffs AS a ON a.meter_id = l.meter_id AND a.valid @> p_from
          JOIN dynamic AS d ON d.code = a.code
         WHERE l.region = p_region AND l.valid @> p_from
    )
    SELECT c.user_id, w.channel, 'price_changed',
           jsonb_build_object('region', p_region, 'currency', p.currency, 'price_per_kwh', trim_scale(p.price)::text, 'from', p.starts_at,
                              'until', nullif(p.ends_at, 'infinity'), 'reason', p.reason, 'said', p.override_reason),
           p_now, greatest(p_from, p_now) + INTERVAL '1 day'
      FROM concerned AS c
      JOIN users AS u ON u.user_id = c.user_id AND u.deleted_at IS NULL AND u.suspended_at IS NULL
      JOIN user_preferences AS n ON n.user_id = c.user_id
     CROSS JOIN price AS p
      -- One message, by a way that somebody delivers: the first is there wherever codes reach people, and web is none yet.
     CROSS JOIN LATERAL (SELECT CASE WHEN n.notify_email THEN 'email' WHEN n.notify_push THEN 'push' WHEN n.notify_sms THEN 'sms' END AS channel) AS w
     WHERE w.channel IS NOT NULL;
    GET DIAGNOSTICS v_told = ROW_COUNT;
    RETURN v_told;
END
$$;
COMMENT ON FUNCTION region_price_tell(text, timestamptz, timestamptz) IS 'One message to each customer who has a meter in the region and a tariff by its price, of the price that is in force at p_from; how many';

-- Of several that ended meanwhile the last: what people want to know is what it costs now.
CREATE OR REPLACE FUNCTION region_price_tell_end(p_region text, p_since timestamptz, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_end timestamptz;
    v_told integer := 0;
BEGIN
    UPDATE region_price_state SET ends_told_until = greatest(ends_told_until, p_now) WHERE region = p_region;
    -- Whoever ended one before its time has told of it.
    SELECT max(upper(o.valid)) INTO v_end FROM price_overrides o
     WHERE o.region = p_region AND o.ended_at IS NULL AND upper(o.valid) > p_since AND upper(o.valid) <= p_now;
    IF v_end IS NOT NULL AND NOT EXISTS (SELECT FROM price_overrides o WHERE o.region = p_region AND o.in_force @> v_end)
       AND (SELECT s.price FROM region_price_spans(p_region, v_end, v_end + INTERVAL '1 microsecond') AS s)
           IS DISTINCT FROM (SELECT s.price FROM region_price_spans(p_region, v_end - INTERVAL '1 microsecond', v_end) AS s) THEN
        v_told := region_price_tell(p_region, v_end, p_now);
    END IF;
    RETURN v_told;
END
$$;
COMMENT ON FUNCTION region_price_tell_end(text, timestamptz, timestamptz) IS 'Tells what a kWh costs since an override ended by itself after p_since and until p_now; how many people';

-- The region's own price from the next quarter-hour on. One that has not begun yet stays for its quarter-hour.
CREATE OR REPLACE FUNCTION region_price_open(p_region text, p_tier integer, p_load numeric, p_load_at timestamptz, p_reason text, p_now timestamptz)
RETURNS TABLE (starts_at timestamptz, told integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_terms record;
    v_open region_prices;
    v_price numeric;
BEGIN
    SELECT t.* INTO v_terms FROM region_price_terms(p_region) AS t;
    SELECT p.* INTO v_open FROM region_prices p WHERE p.region = p_region AND upper(p.valid) = 'infinity';
    starts_at := greatest(quarter_ceiling(p_now), lower(v_open.valid) + INTERVAL '15 minutes');
    told := 0;
    v_price := (SELECT s.price FROM region_price_spans(p_region, starts_at, starts_at + INTERVAL '1 microsecond') AS s);
    UPDATE region_prices SET valid = tstzrange(lower(valid), region_price_open.starts_at) WHERE region_price_id = v_open.region_price_id;
    INSERT INTO region_prices (region, currency, base_price, factor, tier, load_percent, load_at, reason, valid, decided_at)
    VALUES (p_region, v_terms.currency, v_terms.base_price, CASE WHEN p_tier IS NULL THEN 1 ELSE v_terms.factors[p_tier + 1] END, p_tier, p_load, p_load_at,
            p_reason, tstzrange(starts_at, 'infinity'), p_now);
    -- Under an override that sets the price itself nothing changes: the price that then holds is told when that ends.
    IF v_price IS DISTINCT FROM (SELECT s.price FROM region_price_spans(p_region, starts_at, starts_at + INTERVAL '1 microsecond') AS s) THEN
        told := region_price_tell(p_region, starts_at, p_now);
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION region_price_open(text, integer, numeric, timestamptz, text, timestamptz) IS 'A region has another price of its own from the next quarter-hour on; from when, and how many people are told because the price in force changes';

CREATE OR REPLACE FUNCTION region_price_set(
    p_region text, p_currency text, p_base_price numeric, p_thresholds numeric[], p_factors numeric[], p_hysteresis numeric, p_coverage numeric, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_now timestamptz := p_now;
    v_terms record;
    v_open region_prices;
    v_tier integer;
BEGIN
    PERFORM FROM regions r WHERE r.region = p_region FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    -- NaN is greater than 0, and than all else.
    IF p_base_price = 'NaN' THEN
        RAISE EXCEPTION 'a base price is a number' USING ERRCODE = 'SG094', HINT = 'Give what a kWh costs at factor 1.';
    END IF;
    -- First of all, where there is a price: who waits for the row of rules instead does not know how long.
    IF EXISTS (SELECT FROM region_price_state s WHERE s.region = p_region) THEN
        v_now := region_price_hold(p_region, p_now);
    END IF;
    INSERT INTO region_price_rules AS r (region, currency, base_price, thresholds_percent, factors, hysteresis_points, coverage_percent)
    VALUES (p_region, p_currency, p_base_price, p_thresholds, p_factors, p_hysteresis, p_coverage)
    ON CONFLICT (region) DO UPDATE
       SET currency = excluded.currency, base_price = excluded.base_price, thresholds_percent = excluded.thresholds_percent,
           factors = excluded.factors, hysteresis_points = excluded.hysteresis_points, coverage_percent = excluded.coverage_percent;
    INSERT INTO region_price_state (region, seen_until, told_until, ends_told_until)
    VALUES (p_region, date_bin(INTERVAL '15 minutes', p_now, TIMESTAMPTZ '2000-01-01 00:00Z'), p_now, p_now) ON CONFLICT (region) DO NOTHING;
    v_now := region_price_hold(p_region, v_now);
    SELECT t.* INTO v_terms FROM region_price_terms(p_region) AS t;
    IF NOT price_steps_fit(v_terms.thresholds, v_terms.factors, v_terms.hysteresis) THEN
        RAISE EXCEPTION 'thresholds %, factors % and hysteresis % do not fit together', v_terms.thresholds, v_terms.factors, v_terms.hysteresis
            USING ERRCODE = 'SG094', HINT = 'Give thresholds that rise, all above the hysteresis, and one factor more.';
    END IF;
    SELECT p.* INTO v_open FROM region_prices p WHERE p.region = p_region AND upper(p.valid) = 'infinity';
    -- The load that was seen last, by the thresholds that there are now.
    v_tier := CASE WHEN v_open.load_percent IS NOT NULL
                   THEN load_tier(least(v_open.tier, cardinality(v_terms.thresholds)), v_open.load_percent, v_terms.thresholds, v_terms.hysteresis) END;
    IF v_open.region_price_id IS NULL OR (v_open.currency, v_open.base_price, v_open.factor, v_open.tier)
       IS DISTINCT FROM (v_terms.currency, v_terms.base_price, CASE WHEN v_tier IS NULL THEN 1 ELSE v_terms.factors[v_tier + 1] END, v_tier::smallint) THEN
        PERFORM region_price_open(p_region, v_tier, v_open.load_percent, v_open.load_at, 'base', v_now);
    END IF;
END
$$;
COMMENT ON FUNCTION region_price_set(text, text, numeric, numeric[], numeric[], numeric, numeric, timestamptz) IS 'A region gets a price per kWh that follows its load, or other rules for it; NULL for what price_settings says. It begins at factor 1, until a load is known. Raises SG024 no such region, SG094 rules that do not fit together';

CREATE OR REPLACE FUNCTION region_prices_due(p_now timestamptz) RETURNS TABLE (region text, since timestamptz, looked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.region, greatest(s.seen_until, date_bin(INTERVAL '15 minutes', p_now, TIMESTAMPTZ '2000-01-01 00:00Z') - INTERVAL '2 days'), p_now
      FROM region_price_state AS s CROSS JOIN price_settings AS t
     WHERE s.seen_until + INTERVAL '15 minutes' + make_interval(secs => t.settle_s) <= p_now ORDER BY s.region
$$;
COMMENT ON FUNCTION region_prices_due(timestamptz) IS 'Regions of which a quarter-hour has ended that was not looked at yet, from when on their loads matter, and p_now. What is older than two days changes no price any more';

-- p_loads has region, bucket, load_percent (NULL where power or capacity is unknown) and coverage of quarter-hours as telemetry
-- had them at p_looked_at, of all these regions. Between reading and deciding a worker may have stood still: what ended after
-- p_looked_at is not judged by its absence.
CREATE OR REPLACE FUNCTION region_prices_decide(p_regions text[], p_loads jsonb, p_looked_at timestamptz, p_now timestamptz)
RETURNS TABLE (region text, starts_at timestamptz, tier integer, load_percent numeric, told integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_quarter CONSTANT interval := INTERVAL '15 minutes';
    v_state region_price_state;
    v_terms record;
    v_open region_prices;
    v_now timestamptz;
    v_bucket timestamptz;
    v_seen timestamptz;
    v_load record;
    v_at timestamptz;
BEGIN
    FOR v_state IN SELECT s.* FROM region_price_state s WHERE s.region = ANY (p_regions) ORDER BY s.region FOR UPDATE SKIP LOCKED LOOP
        v_now := region_price_hold(v_state.region, p_now);
        PERFORM region_price_tell_end(v_state.region, v_state.ends_told_until, v_now);
        SELECT t.* INTO v_terms FROM region_price_terms(v_state.region) AS t;
        SELECT p.* INTO v_open FROM region_prices p WHERE p.region = v_state.region AND upper(p.valid) = 'infinity';
        region := v_state.region;
        tier := v_open.tier;
        load_percent := NULL;
        v_at := NULL;
        v_bucket := greatest(v_state.seen_until, date_bin(v_quarter, p_looked_at, TIMESTAMPTZ '2000-01-01 00:00Z') - INTERVAL '2 days');
        v_seen := v_bucket;
        -- One after another, whoever slept meanwhile: the tier is the same as if nobody had, and takes force now.
        WHILE v_bucket + v_quarter + v_terms.settles <= p_looked_at LOOP
            SELECT round(l.load_percent, 6) AS load_percent INTO v_load
              FROM jsonb_to_recordset(p_loads) AS l (region text, bucket timestamptz, load_percent numeric, coverage numeric)
             WHERE l.region = v_state.region AND l.bucket = v_bucket AND l.load_percent <> 'NaN' AND l.coverage >= v_terms.coverage AND l.coverage <> 'NaN';
            IF FOUND THEN
                load_percent := greatest(-99999, least(99999, v_load.load_percent));
                v_at := v_bucket;
                tier := load_tier(tier, load_percent, v_terms.thresholds, v_terms.hysteresis);
            ELSIF v_bucket + v_quarter + v_terms.waits > p_looked_at THEN
                -- It may still come.
                EXIT;
            END IF;
            v_bucket := v_bucket + v_quarter;
            v_seen := v_bucket;
        END LOOP;
        UPDATE region_price_state SET seen_until = greatest(seen_until, v_seen) WHERE region = v_state.region;
        -- No data is not load 0: the price stays as it is.
        IF tier IS DISTINCT FROM v_open.tier THEN
            SELECT o.starts_at, o.told INTO starts_at, told FROM region_price_open(v_state.region, tier, load_percent, v_at, 'load', v_now) AS o;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION region_prices_decide(text[], jsonb, timestamptz, timestamptz) IS 'Looks at the quarter-hours of regions that were not looked at yet, in order of time, and opens another price where a load came into another tier; those that did. Doing it again, or at once, changes nothing more';
CREATE OR REPLACE FUNCTION caller_region_prices(p_region text, p_after integer, p_limit integer)
RETURNS TABLE (key integer, starts_at timestamptz, ends_at timestamptz, currency text, price numeric, base_price numeric, factor numeric, tier smallint,
               load_percent numeric, reason text, said text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_before CONSTANT timestamptz := CASE WHEN p_after = 0 THEN 'infinity' ELSE to_timestamp(p_after::bigint * 900) END;
    v_kept CONSTANT boolean := coalesce(caller_role() = 'ADMIN' OR p_region = ANY (caller_regions()), false);
BEGIN
    IF caller_role() IS NULL OR NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region) THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024';
    END IF;
    RETURN QUERY
    SELECT (EXTRACT(epoch FROM s.starts_at) / 900)::integer, s.starts_at, nullif(s.ends_at, 'infinity'), s.currency, s.price, s.base_price, s.factor, s.tier,
           CASE WHEN v_kept THEN s.load_percent END, s.reason, s.override_reason
      -- At least as many as are asked for begin with a price of the region's own.
      FROM region_price_spans(p_region, coalesce(
               (SELECT lower(p.valid) FROM region_prices AS p WHERE p.region = p_region AND lower(p.valid) < v_before
                 ORDER BY lower(p.valid) DESC OFFSET p_limit LIMIT 1), '-infinity'), v_before) AS s
     WHERE s.starts_at < v_before ORDER BY s.starts_at DESC LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION caller_region_prices(text, integer, integer) IS 'Prices of a region, the latest first, those that are known to come among them: p_limit of those that begin before a quarter-hour (key, 0 for all). The load is for who looks after the region. Raises SG024';
GRANT EXECUTE ON FUNCTION caller_region_prices(text, integer, integer) TO segs_api;
GRANT EXECUTE ON FUNCTION region_price_terms(text), region_price_spans(text, timestamptz, timestamptz), region_price_segments(text, text, timestamptz, timestamptz)
    TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION region_prices_due(timestamptz), region_prices_decide(text[], jsonb, timestamptz, timestamptz) TO segs_worker;
