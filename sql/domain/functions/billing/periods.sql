-- What of a month is billed to whom, and by which prices. Days are local to where the meter is; a day is billed to whoever
-- has the meter when it begins. Each function asks of many spans of days at once, each of one meter: what is found says by
-- "bill" in which place of the arrays its span was.

-- The same for the end of one period and the start of the next, so that nothing lies between them or in both.
CREATE OR REPLACE FUNCTION billing_bounds(p_meters integer[], p_first date[], p_end date[]) RETURNS TABLE (bill integer, meter_id integer, day date, at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH place AS MATERIALIZED (
        SELECT l.meter_id, l.timezone, l.valid, EXISTS (SELECT FROM meter_locations b WHERE b.meter_id = l.meter_id AND upper(b.valid) = lower(l.valid)) AS follows
          FROM meter_locations l WHERE l.meter_id = ANY (p_meters)
    ), bound AS (
        SELECT b.n::integer AS bill, b.meter_id, g.at::date AS day,
               coalesce(min(m.at) FILTER (WHERE l.valid @> m.at),
                        -- At midnight of the old place it was gone already, at that of the new one not there yet: it moved in between.
                        min(lower(l.valid)) FILTER (WHERE l.follows AND lower(l.valid) > m.at AND lower(l.valid) < m.at + INTERVAL '1 day')) AS at
          FROM unnest(p_meters, p_first, p_end) WITH ORDINALITY AS b (meter_id, first_day, end_day, n)
         CROSS JOIN LATERAL generate_series(b.first_day::timestamp, b.end_day::timestamp, INTERVAL '1 day') AS g (at)
          LEFT JOIN place AS l ON l.meter_id = b.meter_id
         CROSS JOIN LATERAL (SELECT g.at AT TIME ZONE l.timezone AS at) AS m
         GROUP BY b.n, b.meter_id, g.at
    )
    SELECT b.bill, b.meter_id, b.day, c.at + CASE WHEN c.at < b.at THEN INTERVAL '15 minutes' ELSE INTERVAL '0' END
      FROM bound AS b CROSS JOIN LATERAL (SELECT date_bin(INTERVAL '15 minutes', b.at, TIMESTAMPTZ '2000-01-01 00:00Z') AS at) AS c;
END
$$;
COMMENT ON FUNCTION billing_bounds(integer[], date[], date[]) IS 'The instants at which local days of meters begin, the end day''s included, each where the meter is then; NULL where it is nowhere';

CREATE OR REPLACE FUNCTION billing_days(p_meters integer[], p_first date[], p_end date[])
RETURNS TABLE (bill integer, meter_id integer, day date, starts_at timestamptz, ends_at timestamptz, timezone text, user_id integer, tariff_id integer, currency text,
               reason text)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH place AS MATERIALIZED (
        SELECT l.meter_id, l.valid, l.timezone FROM meter_locations l WHERE l.meter_id = ANY (p_meters)
    ), owner AS MATERIALIZED (
        SELECT o.meter_id, o.valid, o.user_id FROM meter_owners o WHERE o.meter_id = ANY (p_meters)
    ), assigned AS MATERIALIZED (
        SELECT a.meter_id, a.valid, a.code FROM meter_tariffs a WHERE a.meter_id = ANY (p_meters)
    ), day AS MATERIALIZED (
        SELECT d.*, a.code
          FROM (SELECT b.bill, b.meter_id, b.day, b.at AS starts_at, lead(b.at) OVER w AS ends_at, row_number() OVER w AS n, count(*) OVER (PARTITION BY b.bill) AS bounds
                  FROM billing_bounds(p_meters, p_first, p_end) AS b WINDOW w AS (PARTITION BY b.bill ORDER BY b.day)) AS d
          LEFT JOIN assigned AS a ON a.meter_id = d.meter_id AND a.valid @> d.starts_at
         WHERE d.n < d.bounds
    ), priced AS MATERIALIZED (
        -- Most meters have a tariff that others have, too.
        SELECT c.code, c.day, c.starts_at, c.ends_at, t.tariff_id, t.currency, t.document #>> '{metering,rule}' = 'buy_all_sell_all' AS gross,
               -- Its days and months would be others than the meter's.
               c.day::timestamp AT TIME ZONE t.timezone <> c.starts_at OR (c.day + 1)::timestamp AT TIME ZONE t.timezone <> c.ends_at AS elsewhere
          FROM (SELECT DISTINCT d.code, d.day, d.starts_at, d.ends_at FROM day AS d WHERE d.code IS NOT NULL AND d.ends_at IS NOT NULL) AS c
         CROSS JOIN LATERAL (SELECT t.* FROM tariffs t WHERE t.code = c.code AND t.valid @> c.starts_at ORDER BY (t.origin = 'base') DESC, t.origin LIMIT 1) AS t
    )
    SELECT d.bill, d.meter_id, d.day, d.starts_at, d.ends_at, l.timezone, o.user_id, t.tariff_id, t.currency,
           CASE WHEN l.timezone IS NULL OR d.ends_at IS NULL THEN 'no_place'
                WHEN o.user_id IS NULL THEN 'no_owner'
                WHEN t.tariff_id IS NULL THEN 'no_tariff'
                WHEN t.elsewhere THEN 'tariff_zone'
                WHEN t.gross AND NOT EXISTS (SELECT FROM meter_generators g WHERE g.meter_id = d.meter_id AND g.valid @> tstzrange(d.starts_at, d.ends_at))
                THEN 'no_generation' END
      FROM day AS d
      LEFT JOIN place AS l ON l.meter_id = d.meter_id AND l.valid @> d.starts_at
      LEFT JOIN owner AS o ON o.meter_id = d.meter_id AND o.valid @> d.starts_at
      LEFT JOIN priced AS t ON t.code = d.code AND t.day = d.day AND t.starts_at = d.starts_at AND t.ends_at = d.ends_at;
END
$$;
COMMENT ON FUNCTION billing_days(integer[], date[], date[]) IS 'Local days of meters: from when to when, whose they are, the price table whose fixed charges they bear, and why a day cannot be billed';

CREATE OR REPLACE FUNCTION billing_parts(p_meters integer[], p_first date[], p_end date[])
RETURNS TABLE (bill integer, meter_id integer, first_day date, end_day date, starts_at timestamptz, ends_at timestamptz, timezone text, user_id integer, currency text,
               reason text)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH day AS (
        SELECT d.*, row_number() OVER (PARTITION BY d.bill ORDER BY d.day)
                    - row_number() OVER (PARTITION BY d.bill, d.user_id, d.currency, d.reason ORDER BY d.day) AS island
          FROM billing_days(p_meters, p_first, p_end) AS d
    )
    SELECT d.bill, d.meter_id, min(d.day), max(d.day) + 1, min(d.starts_at), max(d.ends_at), (array_agg(d.timezone ORDER BY d.day))[1], d.user_id, d.currency, d.reason
      FROM day AS d GROUP BY d.bill, d.meter_id, d.user_id, d.currency, d.reason, d.island ORDER BY 1, 3;
END
$$;
COMMENT ON FUNCTION billing_parts(integer[], date[], date[]) IS 'Bills that spans of days make: runs of days of one customer and currency; reason says of the others why they are not billed';

CREATE OR REPLACE FUNCTION billing_prices(p_tariff_id integer, p_region text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, buy_per_kwh numeric, sell_per_kwh numeric, tier smallint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    -- Export is paid by the rates of the tariff.
    SELECT p.starts_at, p.ends_at, p.price, NULL::numeric, p.tier
      FROM tariffs AS t CROSS JOIN LATERAL region_price_segments(p_region, t.currency, p_from, p_to) AS p
     WHERE t.tariff_id = p_tariff_id AND (t.document ->> 'regional_price')::boolean
    UNION ALL
    SELECT p.starts_at, p.ends_at, p.buy_per_kwh, p.sell_per_kwh, NULL
      FROM tariffs AS t CROSS JOIN LATERAL tariff_price_segments(t.code, p_from, p_to) AS p
     WHERE t.tariff_id = p_tariff_id AND (t.document ->> 'price_series')::boolean
$$;
COMMENT ON FUNCTION billing_prices(integer, text, timestamptz, timestamptz) IS 'The prices of a kWh by a price table that has them from elsewhere: from the region that a meter is in, or from a series. Disjoint; gaps where there is none';

CREATE OR REPLACE FUNCTION billing_segments(p_tariff_id integer, p_whole boolean, p_region text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, period smallint, demand_period smallint, priced boolean, buy_per_kwh numeric, sell_per_kwh numeric,
               price_tier smallint)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_document CONSTANT jsonb := billing_document(p_tariff_id, p_whole);
BEGIN
    IF NOT coalesce((v_document ->> 'price_series')::boolean OR (v_document ->> 'regional_price')::boolean, false) THEN
        RETURN QUERY SELECT s.starts_at, s.ends_at, s.period, s.demand_period, true, NULL::numeric, NULL::numeric, NULL::smallint
                       FROM tariff_segments(v_document, p_from, p_to) AS s;
        RETURN;
    END IF;
    -- Segments end where a price does, too; while it stays the same they do not.
    RETURN QUERY
    WITH segment AS MATERIALIZED (
        SELECT s.* FROM tariff_segments(v_document, p_from, p_to) AS s
    ), price AS MATERIALIZED (
        SELECT p.* FROM billing_prices(p_tariff_id, p_region, p_from, p_to) AS p
    )
    SELECT greatest(s.starts_at, p.starts_at), least(s.ends_at, p.ends_at), s.period, s.demand_period, true, p.buy_per_kwh, p.sell_per_kwh, p.tier
      FROM segment AS s JOIN price AS p ON p.starts_at < s.ends_at AND p.ends_at > s.starts_at
    UNION ALL
    SELECT lower(u.span), upper(u.span), s.period, s.demand_period, false, NULL, NULL, NULL
      FROM segment AS s
     CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(s.starts_at, s.ends_at))
                               - coalesce((SELECT range_agg(tstzrange(p.starts_at, p.ends_at)) FROM price AS p), '{}')) AS u (span);
END
$$;
COMMENT ON FUNCTION billing_segments(integer, boolean, text, timestamptz, timestamptz) IS 'The spans of a time in which a price table has one period and one price of a kWh, in a region; priced false where it has no price';

-- An account is rated by itself. Of each base table one has its days and all charges; what other tables price in between (by
-- load, by an operator, or from the middle of a day on) has energy, its taxes and no more.
CREATE OR REPLACE FUNCTION billing_plan(p_meters integer[], p_first date[], p_end date[])
RETURNS TABLE (bill integer, meter_id integer, account integer, tariff_id integer, whole boolean, first_day date, end_day date, starts_at timestamptz, ends_at timestamptz,
               period smallint, demand_period smallint, priced boolean, buy_per_kwh numeric, sell_per_kwh numeric, price_tier smallint,
               gross boolean, generator_id integer)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH day AS MATERIALIZED (
        SELECT d.*, row_number() OVER (PARTITION BY d.bill ORDER BY d.day) - row_number() OVER (PARTITION BY d.bill, d.tariff_id ORDER BY d.day) AS island
          FROM billing_days(p_meters, p_first, p_end) AS d
    ), home AS MATERIALIZED (
        SELECT d.bill, d.meter_id, row_number() OVER (PARTITION BY d.bill ORDER BY min(d.day))::integer AS account, d.tariff_id, min(d.day) AS first_day,
               max(d.day) + 1 AS end_day, min(d.starts_at) AS starts_at, max(d.ends_at) AS ends_at
          FROM day AS d GROUP BY d.bill, d.meter_id, d.tariff_id, d.island
    ), bill AS MATERIALIZED (
        SELECT h.bill, h.meter_id, count(*)::integer AS homes, min(h.first_day) AS first_day, max(h.end_day) AS end_day, min(h.starts_at) AS starts_at,
               max(h.ends_at) AS ends_at
          FROM home AS h GROUP BY h.bill, h.meter_id
    ), place AS MATERIALIZED (
        SELECT l.meter_id, l.region, l.valid FROM meter_locations l WHERE l.meter_id = ANY (p_meters)
    ), generated AS MATERIALIZED (
        SELECT g.meter_id, g.generator_id, g.valid FROM meter_generators g WHERE g.meter_id = ANY (p_meters)
    ), assigned AS MATERIALIZED (
        SELECT b.bill, a.code, a.valid FROM bill AS b JOIN meter_tariffs a ON a.meter_id = b.meter_id AND a.valid && tstzrange(b.starts_at, b.ends_at)
         WHERE a.meter_id = ANY (p_meters)
    ), tariff AS MATERIALIZED (
        SELECT t.tariff_id, t.code, t.valid, t.document #>> '{metering,rule}' = 'buy_all_sell_all' AS gross,
               coalesce((t.document ->> 'regional_price')::boolean, false) AS regional
          FROM tariffs t WHERE t.code IN (SELECT a.code FROM assigned AS a)
    ), cut AS (
        SELECT h.bill, h.starts_at AS at FROM home AS h
        UNION
        SELECT c.bill, quarter_ceiling(c.at)
          FROM (SELECT a.bill, e.at FROM assigned AS a CROSS JOIN LATERAL (VALUES (lower(a.valid)), (upper(a.valid))) AS e (at)
                UNION SELECT b.bill, e.at FROM bill AS b JOIN generated AS g USING (meter_id) CROSS JOIN LATERAL (VALUES (lower(g.valid)), (upper(g.valid))) AS e (at)
                UNION SELECT a.bill, e.at FROM assigned AS a JOIN tariff AS t USING (code) CROSS JOIN LATERAL (VALUES (lower(t.valid)), (upper(t.valid))) AS e (at)
                -- Another region has other prices.
                UNION SELECT b.bill, e.at FROM bill AS b JOIN place AS l USING (meter_id) CROSS JOIN LATERAL (VALUES (lower(l.valid)), (upper(l.valid))) AS e (at)
                       WHERE b.bill IN (SELECT a.bill FROM assigned AS a JOIN tariff AS t USING (code) WHERE t.regional)) AS c
          JOIN bill AS b USING (bill)
         WHERE isfinite(c.at) AND c.at > b.starts_at AND c.at < b.ends_at AND quarter_ceiling(c.at) < b.ends_at
    ), piece AS MATERIALIZED (
        SELECT b.bill, b.meter_id, b.homes, b.first_day, b.end_day, c.at AS starts_at, lead(c.at, 1, b.ends_at) OVER (PARTITION BY b.bill ORDER BY c.at) AS ends_at
          FROM cut AS c JOIN bill AS b USING (bill)
    ), coded AS MATERIALIZED (
        SELECT p.*, a.code FROM piece AS p LEFT JOIN assigned AS a ON a.bill = p.bill AND a.valid @> p.starts_at
    ), priced AS MATERIALIZED (
        SELECT c.code, c.starts_at, (tariff_at(c.code, c.starts_at)).tariff_id FROM (SELECT DISTINCT c.code, c.starts_at FROM coded AS c WHERE c.code IS NOT NULL) AS c
    ), found AS (
        SELECT c.bill, c.meter_id, c.homes, c.first_day AS first_of_bill, c.end_day AS end_of_bill, c.starts_at, c.ends_at, h.account, h.first_day, h.end_day,
               t.tariff_id, t.gross, t.tariff_id IS NOT DISTINCT FROM h.tariff_id AS whole, g.generator_id, CASE WHEN t.regional THEN l.region END AS region
          FROM coded AS c
          JOIN home AS h ON h.bill = c.bill AND c.starts_at >= h.starts_at AND c.starts_at < h.ends_at
          LEFT JOIN priced AS p ON p.code = c.code AND p.starts_at = c.starts_at
          LEFT JOIN tariff AS t ON t.tariff_id = p.tariff_id
          LEFT JOIN generated AS g ON g.meter_id = c.meter_id AND g.valid @> c.starts_at
          LEFT JOIN place AS l ON l.meter_id = c.meter_id AND l.valid @> c.starts_at
    ), accounted AS MATERIALIZED (
        SELECT f.bill, f.meter_id, f.tariff_id, f.whole, f.starts_at, f.ends_at, f.gross, f.generator_id, f.region,
               CASE WHEN f.whole THEN f.account ELSE f.homes + (dense_rank() OVER (PARTITION BY f.bill ORDER BY f.whole, f.tariff_id))::integer END AS account,
               CASE WHEN f.whole THEN f.first_day ELSE f.first_of_bill END AS first_day, CASE WHEN f.whole THEN f.end_day ELSE f.end_of_bill END AS end_day,
               -- What many meters have in common is found once.
               dense_rank() OVER (ORDER BY f.tariff_id, f.whole, f.region, f.starts_at, f.ends_at) AS course
          FROM found AS f
    ), segment AS MATERIALIZED (
        SELECT c.course, s.*
          FROM (SELECT DISTINCT ON (a.course) a.* FROM accounted AS a WHERE a.tariff_id IS NOT NULL) AS c
         CROSS JOIN LATERAL billing_segments(c.tariff_id, c.whole, c.region, c.starts_at, c.ends_at) AS s
    )
    SELECT a.bill, a.meter_id, a.account, a.tariff_id, a.whole, a.first_day, a.end_day, s.starts_at, s.ends_at, s.period, s.demand_period, s.priced, s.buy_per_kwh,
           s.sell_per_kwh, s.price_tier, a.gross, CASE WHEN a.gross THEN a.generator_id END
      FROM accounted AS a JOIN segment AS s USING (course)
    UNION ALL
    SELECT a.bill, a.meter_id, a.account, NULL, a.whole, a.first_day, a.end_day, a.starts_at, a.ends_at, NULL, NULL, false, NULL, NULL, NULL, false, NULL
      FROM accounted AS a WHERE a.tariff_id IS NULL;
END
$$;
COMMENT ON FUNCTION billing_plan(integer[], date[], date[]) IS 'The segments of bills: spans in which neither price table nor period nor the price of a kWh changes, each with the account that it is rated in; tariff_id NULL where it has no tariff, priced false where that tariff has no price; gross where it buys and sells all, by what the generator''s meter tells';

-- Meters are billed by their quarter-hours, also by a document that prices files of hours.
CREATE OR REPLACE FUNCTION rated_document(p_document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = public, pg_temp AS $$
    SELECT p_document || '{"interval_s": 900}'
$$;
COMMENT ON FUNCTION rated_document(jsonb) IS 'A document as quarter-hours are rated by it: demand is the highest of them';

CREATE OR REPLACE FUNCTION billing_document(p_tariff_id integer, p_whole boolean) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT rated_document(CASE WHEN p_whole THEN d.document ELSE d.document
        - ARRAY['fixedchargefirstmeter', 'fixedchargeunits', 'mincharge', 'minchargeunits', 'baseline', 'flatdemandstructure', 'flatdemandmonths',
                'demandratestructure', 'demandweekdayschedule', 'demandweekendschedule', 'lookbackpercent', 'lookbackrange', 'lookbackmonths',
                'prior_year_monthly_peaks_kw'] END)
      FROM (SELECT tariff_document(p_tariff_id) AS document) AS d
$$;
COMMENT ON FUNCTION billing_document(integer, boolean) IS 'What a price table is rated by: all of it, or what it says of energy and taxes';
GRANT EXECUTE ON FUNCTION billing_bounds(integer[], date[], date[]), billing_days(integer[], date[], date[]), billing_parts(integer[], date[], date[]),
    billing_plan(integer[], date[], date[]), billing_prices(integer, text, timestamptz, timestamptz),
    billing_segments(integer, boolean, text, timestamptz, timestamptz), billing_document(integer, boolean) TO segs_worker, segs_readonly;
