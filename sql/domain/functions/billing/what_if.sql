-- What a meter's past would have cost by other tariffs, each by the base price table that holds now.

CREATE OR REPLACE FUNCTION what_if_tariffs(p_meter_code text, p_codes text[], p_now timestamptz)
RETURNS TABLE (tariff_id integer, code text, name text, currency text, digits integer, timezone text, yours boolean, reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meter_id CONSTANT integer := readable_meter(p_meter_code, NULL);
    v_place meter_locations;
    v_unknown text;
BEGIN
    SELECT l.* INTO v_place FROM meter_locations l WHERE l.meter_id = v_meter_id ORDER BY l.valid DESC LIMIT 1;
    SELECT c INTO v_unknown FROM unnest(p_codes) AS c
     WHERE NOT EXISTS (SELECT FROM tariffs t WHERE t.code = c AND t.origin = 'base' AND t.valid @> p_now) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'there is no tariff %', v_unknown USING ERRCODE = 'SG090';
    END IF;
    RETURN QUERY
    SELECT t.tariff_id, t.code, t.name, t.currency, minor_digits(t.currency), t.timezone,
           EXISTS (SELECT FROM meter_tariffs a WHERE a.meter_id = v_meter_id AND a.code = t.code AND a.valid @> p_now),
           CASE WHEN t.timezone <> v_place.timezone THEN 'tariff_zone'
                WHEN (t.document ->> 'price_series')::boolean OR (t.document ->> 'regional_price')::boolean THEN 'no_prices'
                WHEN t.document #>> '{metering,rule}' = 'buy_all_sell_all' THEN 'no_generation' END
      FROM tariffs t
     WHERE t.origin = 'base' AND t.valid @> p_now
       AND (t.code = ANY (p_codes) OR p_codes IS NULL AND (t.region IS NULL OR t.region = v_place.region))
     ORDER BY t.code LIMIT 50;
END
$$;
COMMENT ON FUNCTION what_if_tariffs(text, text[], timestamptz) IS 'Tariffs by which a meter''s past can be rated: those named, or all (NULL) that its region has, at most 50; whether it is billed by them now, and why one cannot be tried. Raises SG022 no such meter, SG090 no such tariff';

CREATE OR REPLACE FUNCTION what_if_spans(p_meter_code text, p_tariffs integer[], p_first date, p_end date)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meter_id CONSTANT integer := readable_meter(p_meter_code, NULL);
    v_timezone text;
    v_from timestamptz;
    v_to timestamptz;
BEGIN
    SELECT l.timezone INTO v_timezone FROM meter_locations l WHERE l.meter_id = v_meter_id ORDER BY l.valid DESC LIMIT 1;
    v_from := p_first::timestamp AT TIME ZONE v_timezone;
    v_to := p_end::timestamp AT TIME ZONE v_timezone;
    IF cardinality(p_tariffs) = 1 THEN
        RETURN QUERY SELECT s.starts_at, s.ends_at FROM tariff_segments(tariff_document(p_tariffs[1]), v_from, v_to) AS s ORDER BY s.starts_at;
        RETURN;
    END IF;
    -- Prices change with a local hour, and many tariffs leave few hours in which none does.
    RETURN QUERY
    WITH cut AS (
        SELECT min(q.at) AS at FROM generate_series(v_from, v_to - INTERVAL '15 minutes', INTERVAL '15 minutes') AS q (at)
         WHERE cardinality(p_tariffs) > 0
         GROUP BY date_trunc('hour', q.at AT TIME ZONE v_timezone), q.at AT TIME ZONE v_timezone - q.at AT TIME ZONE 'UTC'
    )
    SELECT c.at, lead(c.at, 1, v_to) OVER (ORDER BY c.at) FROM cut AS c ORDER BY c.at;
END
$$;
COMMENT ON FUNCTION what_if_spans(text, integer[], date, date) IS 'Spans of local days in which no price of any of these tariffs changes; raises SG022';

-- An earlier master had it return less.
DROP FUNCTION IF EXISTS what_if_months(text, jsonb);

-- p_energy has of each of those spans starts_at, ends_at, known (quarter-hours), unreactive (those of them of which reactive energy
-- is not known), import_wh, export_wh, import_varh, peak_wh.
CREATE FUNCTION what_if_months(p_meter_code text, p_energy jsonb)
RETURNS TABLE (month date, missing integer, unreactive integer, import_wh bigint, export_wh bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meter_id CONSTANT integer := readable_meter(p_meter_code, NULL);
    v_timezone text;
BEGIN
    SELECT l.timezone INTO v_timezone FROM meter_locations l WHERE l.meter_id = v_meter_id ORDER BY l.valid DESC LIMIT 1;
    RETURN QUERY
    SELECT date_trunc('month', e.starts_at AT TIME ZONE v_timezone)::date AS month,
           (sum(EXTRACT(epoch FROM e.ends_at - e.starts_at) / 900) - sum(e.known))::integer, coalesce(sum(e.unreactive), 0)::integer, sum(e.import_wh)::bigint,
           sum(e.export_wh)::bigint
      FROM jsonb_to_recordset(p_energy) AS e (starts_at timestamptz, ends_at timestamptz, known bigint, unreactive bigint, import_wh bigint, export_wh bigint)
     GROUP BY 1 ORDER BY 1;
END
$$;
COMMENT ON FUNCTION what_if_months(text, jsonb) IS 'Local months of what_if_spans(), and of how many quarter-hours of each nothing is known, or all but reactive energy; raises SG022';

CREATE OR REPLACE FUNCTION what_if_rate(p_meter_code text, p_tariffs integer[], p_energy jsonb)
RETURNS TABLE (tariff_id integer, month date, peak_kw numeric, total numeric)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM rating_open();
    DROP TABLE IF EXISTS pg_temp.what_if;
    CREATE TEMP TABLE what_if ON COMMIT DROP AS SELECT m.* FROM what_if_months(p_meter_code, p_energy) AS m WHERE m.missing = 0;
    IF NOT EXISTS (SELECT FROM what_if) THEN
        RETURN;
    END IF;
    INSERT INTO rating_tariffs (tariff_id, document) SELECT DISTINCT w.tariff_id, rated_document(tariff_document(w.tariff_id)) FROM unnest(p_tariffs) AS w (tariff_id);
    INSERT INTO rating_accounts (account_id, tariff_id, first_day, end_day)
    SELECT t.tariff_id, t.tariff_id, m.first_day, m.end_day
      FROM rating_tariffs AS t, (SELECT min(w.month) AS first_day, (max(w.month) + INTERVAL '1 month')::date AS end_day FROM what_if AS w) AS m;
    INSERT INTO rating_intervals (account_id, starts_at, ends_at, import_wh, export_wh, import_varh, peak_wh)
    SELECT t.tariff_id, e.starts_at, e.ends_at, e.import_wh, e.export_wh, coalesce(e.import_varh, 0), coalesce(e.peak_wh, 0)
      FROM jsonb_to_recordset(p_energy) AS e (starts_at timestamptz, ends_at timestamptz, import_wh bigint, export_wh bigint, import_varh bigint, peak_wh bigint)
      JOIN what_if AS w ON w.month = date_trunc('month', e.starts_at AT TIME ZONE (SELECT min(t.document ->> 'timezone') FROM rating_tariffs AS t))::date
     CROSS JOIN rating_tariffs AS t;
    PERFORM rate();
    RETURN QUERY
    SELECT m.tariff_id, m.month, m.peak_kw,
           -- Taken as none, what is not known would be the best power factor that there is.
           CASE WHEN w.unreactive = 0 OR NOT t.document @? '$.power_factor[*]' THEN round(m.bill, s.digits) END
      FROM rating_months AS m JOIN rating_terms AS s USING (tariff_id) JOIN rating_tariffs AS t USING (tariff_id) JOIN what_if AS w USING (month)
     ORDER BY m.tariff_id, m.month;
END
$$;
COMMENT ON FUNCTION what_if_rate(text, integer[], jsonb) IS 'What the months of which all is known would have cost by each of these tariffs, all of one zone; total NULL where the tariff has power factors and reactive energy is not known. Nothing is kept. Raises SG022';
GRANT EXECUTE ON FUNCTION what_if_tariffs(text, text[], timestamptz), what_if_spans(text, integer[], date, date), what_if_months(text, jsonb),
    what_if_rate(text, integer[], jsonb) TO segs_api;
