-- The bill that is still to come: what it would be if nothing more were taken, and if the rest of it were like what there was.

CREATE OR REPLACE FUNCTION readable_meter(p_meter_code text, p_at timestamptz) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id CONSTANT integer := meter_number(p_meter_code);
BEGIN
    IF (CASE WHEN p_at IS NULL THEN NOT isempty(caller_spans(v_meter_id)) ELSE caller_spans(v_meter_id) @> p_at END) IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    RETURN v_meter_id;
END
$$;
COMMENT ON FUNCTION readable_meter(text, timestamptz) IS 'The meter of this code, if the caller may read what it measured at an instant, at any time for NULL; raises SG022';

CREATE OR REPLACE FUNCTION billing_cycle(p_meter_code text, p_now timestamptz)
RETURNS TABLE (meter_id integer, first_day date, end_day date, starts_at timestamptz, ends_at timestamptz, timezone text, user_id integer, currency text, digits integer,
               reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meter_id CONSTANT integer := readable_meter(p_meter_code, p_now);
    v_month date;
BEGIN
    SELECT date_trunc('month', p_now AT TIME ZONE l.timezone)::date INTO v_month FROM meter_locations l WHERE l.meter_id = v_meter_id AND l.valid @> p_now;
    RETURN QUERY
    SELECT v_meter_id, p.first_day, p.end_day, p.starts_at, p.ends_at, p.timezone, p.user_id, p.currency, minor_digits(p.currency),
           coalesce(p.reason, (SELECT CASE WHEN bool_or(s.tariff_id IS NULL) THEN 'no_tariff' WHEN bool_or(s.gross) THEN 'no_generation' WHEN bool_or(NOT s.priced AND s.starts_at < date_bin(INTERVAL '15 minutes', p_now, '2000-01-01 00:00Z')) THEN 'no_prices' END
                                 FROM billing_plan(ARRAY[v_meter_id], ARRAY[p.first_day], ARRAY[p.end_day]) AS s))
      FROM billing_parts(ARRAY[v_meter_id], ARRAY[v_month], ARRAY[(v_month + INTERVAL '1 month')::date]) AS p
     WHERE p.starts_at <= p_now AND p.ends_at > p_now AND (caller_role() <> 'USER' OR p.user_id = caller_id());
    IF NOT FOUND THEN
        RETURN QUERY SELECT v_meter_id, NULL::date, NULL::date, NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::integer, NULL::text, NULL::integer, 'no_place';
    END IF;
END
$$;
COMMENT ON FUNCTION billing_cycle(text, timestamptz) IS 'The part of a month that the next bill of a meter will be over, and why there will be none; raises SG022 for a meter that the caller may not read now';

CREATE OR REPLACE FUNCTION billing_cycle_plan(p_meter_code text, p_now timestamptz)
RETURNS TABLE (account integer, tariff_id integer, starts_at timestamptz, ends_at timestamptz, period smallint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.account, p.tariff_id, p.starts_at, p.ends_at, p.period
      FROM billing_cycle(p_meter_code, p_now) AS c CROSS JOIN LATERAL billing_plan(ARRAY[c.meter_id], ARRAY[c.first_day], ARRAY[c.end_day]) AS p
     WHERE c.reason IS NULL ORDER BY p.starts_at
$$;
COMMENT ON FUNCTION billing_cycle_plan(text, timestamptz) IS 'The segments of billing_cycle(), as billing_plan() has them; raises SG022';

-- p_energy has of segments that have begun starts_at, and of how many quarter-hours reactive energy is not known (unreactive), which
-- are from unreactive_from to unreactive_to. Taken as none, it would be the best power factor that there is.
CREATE OR REPLACE FUNCTION billing_cycle_unreactive(p_meter_code text, p_energy jsonb, p_now timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, quarters integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meter_id CONSTANT integer := readable_meter(p_meter_code, p_now);
BEGIN
    -- Few tariffs have any, and a plan takes its time.
    IF NOT EXISTS (SELECT FROM meter_tariffs a JOIN tariffs t USING (code) WHERE a.meter_id = v_meter_id AND t.document @? '$.power_factor[*]') THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT min(e.unreactive_from), max(e.unreactive_to), sum(e.unreactive)::integer
      FROM billing_cycle_plan(p_meter_code, p_now) AS p
      JOIN jsonb_to_recordset(p_energy) AS e (starts_at timestamptz, unreactive integer, unreactive_from timestamptz, unreactive_to timestamptz) USING (starts_at)
      JOIN tariffs AS t USING (tariff_id)
     WHERE e.unreactive > 0 AND t.document @? '$.power_factor[*]' HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION billing_cycle_unreactive(text, jsonb, timestamptz) IS 'From when to when, and of how many quarter-hours, reactive energy of billing_cycle() is not known while its tariff has power factors; no row where all that matters is. Raises SG022';

-- p_energy has of segments that have begun starts_at, known (quarter-hours), import_wh, export_wh, import_varh, peak_wh, quality
-- and estimated. What is not known is 0, or like the known quarter-hours of the same period.
CREATE OR REPLACE FUNCTION billing_cycle_rate(p_meter_code text, p_energy jsonb, p_projected boolean, p_now timestamptz)
RETURNS TABLE (component text, description text, period smallint, tier smallint, quantity numeric, unit text, unit_price numeric, amount numeric, estimated boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_cycle record;
    v_energy jsonb;
    v_mean record;
BEGIN
    SELECT c.* INTO v_cycle FROM billing_cycle(p_meter_code, p_now) AS c;
    -- What a kWh will cost that has no price yet is what it cost on the average.
    SELECT avg(p.buy_per_kwh) AS buy, avg(p.sell_per_kwh) AS sell INTO v_mean
      FROM billing_plan(ARRAY[v_cycle.meter_id], ARRAY[v_cycle.first_day], ARRAY[v_cycle.end_day]) AS p
     CROSS JOIN generate_series(1, (EXTRACT(epoch FROM p.ends_at - p.starts_at) / 900)::integer) AS q WHERE p.priced;
    WITH segment AS (
        SELECT p.account, p.tariff_id, p.starts_at, p.ends_at, p.period, (EXTRACT(epoch FROM p.ends_at - p.starts_at) / 900)::bigint AS quarters,
               coalesce(e.known, 0) AS known, coalesce(e.import_wh, 0) AS import_wh, coalesce(e.export_wh, 0) AS export_wh, coalesce(e.import_varh, 0) AS import_varh,
               e.peak_wh, e.quality, coalesce(e.estimated, false) AS estimated
          FROM billing_cycle_plan(p_meter_code, p_now) AS p
          LEFT JOIN jsonb_to_recordset(p_energy) AS e (starts_at timestamptz, known bigint, import_wh bigint, export_wh bigint, import_varh bigint, peak_wh bigint,
                    quality smallint, estimated boolean) USING (starts_at)
    ), alike AS (
        SELECT s.*, CASE WHEN sum(s.known) OVER same > 0 THEN sum(s.known) OVER same ELSE nullif(sum(s.known) OVER (), 0) END AS of_quarters,
               CASE WHEN sum(s.known) OVER same > 0 THEN sum(s.import_wh) OVER same ELSE sum(s.import_wh) OVER () END AS of_import,
               CASE WHEN sum(s.known) OVER same > 0 THEN sum(s.export_wh) OVER same ELSE sum(s.export_wh) OVER () END AS of_export,
               CASE WHEN sum(s.known) OVER same > 0 THEN sum(s.import_varh) OVER same ELSE sum(s.import_varh) OVER () END AS of_varh,
               CASE WHEN sum(s.known) OVER same > 0 THEN max(s.peak_wh) OVER same ELSE max(s.peak_wh) OVER () END AS of_peak
          FROM segment AS s WINDOW same AS (PARTITION BY s.period)
    )
    SELECT jsonb_build_array(jsonb_build_object('account', array_agg(a.account)::text, 'tariff_id', array_agg(a.tariff_id)::text, 'starts_at', array_agg(a.starts_at)::text,
               'ends_at', array_agg(a.ends_at)::text,
               'import_wh', array_agg(a.import_wh + round(coalesce(f.quarters * a.of_import / a.of_quarters, 0))::bigint)::text,
               'export_wh', array_agg(a.export_wh + round(coalesce(f.quarters * a.of_export / a.of_quarters, 0))::bigint)::text,
               'import_varh', array_agg(a.import_varh + round(coalesce(f.quarters * a.of_varh / a.of_quarters, 0))::bigint)::text,
               'peak_wh', array_agg(coalesce(CASE WHEN f.quarters > 0 THEN greatest(a.peak_wh, a.of_peak) ELSE a.peak_wh END, 0))::text,
               'quality', array_agg(coalesce(a.quality, 8))::text, 'version', array_agg(1)::text, 'buy_per_kwh', array_agg(v_mean.buy)::text,
               'sell_per_kwh', array_agg(v_mean.sell)::text, 'estimated', array_agg(a.estimated OR f.quarters > 0)::text))
      INTO v_energy
      FROM alike AS a CROSS JOIN LATERAL (SELECT CASE WHEN p_projected THEN a.quarters - a.known ELSE 0 END AS quarters) AS f;
    PERFORM bills_open();
    PERFORM bills_rate(ARRAY[v_cycle.meter_id], ARRAY[v_cycle.user_id], ARRAY[v_cycle.first_day], ARRAY[v_cycle.end_day], v_energy);
    RETURN QUERY
    SELECT l.component, l.description, l.period, l.tier, l.quantity, l.unit, l.unit_price, l.amount, l.estimated FROM bills_lines() AS l ORDER BY l.place;
END
$$;
COMMENT ON FUNCTION billing_cycle_rate(text, jsonb, boolean, timestamptz) IS 'The lines of the bill that billing_cycle() is of, by the energy of its segments until now; with p_projected what is not known is like what is. Nothing is kept. Raises SG022, SG103, SG107';
GRANT EXECUTE ON FUNCTION billing_cycle(text, timestamptz), billing_cycle_plan(text, timestamptz),
    billing_cycle_unreactive(text, jsonb, timestamptz), billing_cycle_rate(text, jsonb, boolean, timestamptz) TO segs_api;
