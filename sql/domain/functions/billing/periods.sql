-- What of a month is billed to whom, and by which prices. Days are local to where the meter is; a day is billed to whoever
-- has the meter when it begins.

-- The same for the end of one period and the start of the next, so that nothing lies between them or in both.
CREATE OR REPLACE FUNCTION billing_bound(p_meter_id integer, p_day date) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT quarter_ceiling(coalesce(
        min(m.at) FILTER (WHERE l.valid @> m.at),
        -- At midnight of the old place it was gone already, at that of the new one not there yet: it moved in between.
        min(lower(l.valid)) FILTER (WHERE lower(l.valid) > m.at AND lower(l.valid) < m.at + INTERVAL '1 day'
            AND EXISTS (SELECT FROM meter_locations b WHERE b.meter_id = p_meter_id AND upper(b.valid) = lower(l.valid)))))
      FROM meter_locations l CROSS JOIN LATERAL (SELECT p_day::timestamp AT TIME ZONE l.timezone AS at) AS m
     WHERE l.meter_id = p_meter_id
$$;
COMMENT ON FUNCTION billing_bound(integer, date) IS 'The instant at which a local day of a meter begins, where it is then; NULL where it is nowhere';

CREATE OR REPLACE FUNCTION billing_days(p_meter_id integer, p_first date, p_end date)
RETURNS TABLE (day date, starts_at timestamptz, ends_at timestamptz, timezone text, user_id integer, tariff_id integer, currency text, reason text)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT d.day, b.starts_at, b.ends_at, l.timezone, o.user_id, t.tariff_id, t.currency,
           CASE WHEN l.timezone IS NULL OR b.ends_at IS NULL THEN 'no_place'
                WHEN o.user_id IS NULL THEN 'no_owner'
                WHEN t.tariff_id IS NULL THEN 'no_tariff'
                -- Its days and months would be others than the meter's.
                WHEN d.day::timestamp AT TIME ZONE t.timezone <> b.starts_at
                  OR (d.day + 1)::timestamp AT TIME ZONE t.timezone <> b.ends_at THEN 'tariff_zone'
                WHEN t.document #>> '{metering,rule}' = 'buy_all_sell_all'
                     AND NOT EXISTS (SELECT FROM meter_generators g WHERE g.meter_id = p_meter_id AND g.valid @> tstzrange(b.starts_at, b.ends_at))
                THEN 'no_generation' END
      FROM (SELECT g::date AS day FROM generate_series(p_first::timestamp, p_end::timestamp - INTERVAL '1 day', INTERVAL '1 day') AS g) AS d
     CROSS JOIN LATERAL (SELECT billing_bound(p_meter_id, d.day) AS starts_at, billing_bound(p_meter_id, d.day + 1) AS ends_at) AS b
      LEFT JOIN meter_locations l ON l.meter_id = p_meter_id AND l.valid @> b.starts_at
      LEFT JOIN meter_owners o ON o.meter_id = p_meter_id AND o.valid @> b.starts_at
      LEFT JOIN meter_tariffs a ON a.meter_id = p_meter_id AND a.valid @> b.starts_at
      LEFT JOIN LATERAL (SELECT t.* FROM tariffs t WHERE t.code = a.code AND t.valid @> b.starts_at
                          ORDER BY (t.origin = 'base') DESC, t.origin LIMIT 1) AS t ON true
$$;
COMMENT ON FUNCTION billing_days(integer, date, date) IS 'Local days of a meter: from when to when, whose they are, the price table whose fixed charges they bear, and why a day cannot be billed';

CREATE OR REPLACE FUNCTION billing_parts(p_meter_id integer, p_first date, p_end date)
RETURNS TABLE (first_day date, end_day date, starts_at timestamptz, ends_at timestamptz, timezone text, user_id integer, currency text, reason text)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH day AS (
        SELECT d.*, row_number() OVER (ORDER BY d.day)
                    - row_number() OVER (PARTITION BY d.user_id, d.currency, d.reason ORDER BY d.day) AS island
          FROM billing_days(p_meter_id, p_first, p_end) AS d
    )
    SELECT min(d.day), max(d.day) + 1, min(d.starts_at), max(d.ends_at), (array_agg(d.timezone ORDER BY d.day))[1], d.user_id, d.currency, d.reason
      FROM day AS d GROUP BY d.user_id, d.currency, d.reason, d.island ORDER BY 1
$$;
COMMENT ON FUNCTION billing_parts(integer, date, date) IS 'Bills that a span of days makes: runs of days of one customer and currency; reason says of the others why they are not billed';

CREATE OR REPLACE FUNCTION billing_prices(p_meter_id integer, p_tariff_id integer, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, buy_per_kwh numeric, sell_per_kwh numeric, tier smallint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    -- The region that the meter was in; export is paid by the rates of the tariff.
    SELECT p.starts_at, p.ends_at, p.price, NULL::numeric, p.tier
      FROM tariffs AS t
      JOIN meter_locations AS l ON l.meter_id = p_meter_id AND l.valid && tstzrange(p_from, p_to)
     CROSS JOIN LATERAL (SELECT greatest(quarter_ceiling(lower(l.valid)), p_from) AS starts_at, least(quarter_ceiling(upper(l.valid)), p_to) AS ends_at) AS b
     CROSS JOIN LATERAL region_price_segments(l.region, t.currency, b.starts_at, b.ends_at) AS p
     WHERE t.tariff_id = p_tariff_id AND (t.document ->> 'regional_price')::boolean AND b.starts_at < b.ends_at
    UNION ALL
    SELECT p.starts_at, p.ends_at, p.buy_per_kwh, p.sell_per_kwh, NULL
      FROM tariffs AS t CROSS JOIN LATERAL tariff_price_segments(t.code, p_from, p_to) AS p
     WHERE t.tariff_id = p_tariff_id AND (t.document ->> 'price_series')::boolean
$$;
COMMENT ON FUNCTION billing_prices(integer, integer, timestamptz, timestamptz) IS 'The prices of a kWh for a meter by a price table that has them from elsewhere: from the region that the meter is in, or from a series. Disjoint; gaps where there is none';

-- An account is rated by itself. Of each base table one has its days and all charges; what other tables price in between (by
-- load, by an operator, or from the middle of a day on) has energy, its taxes and no more.
CREATE OR REPLACE FUNCTION billing_plan(p_meter_id integer, p_first date, p_end date)
RETURNS TABLE (account integer, tariff_id integer, whole boolean, first_day date, end_day date, starts_at timestamptz, ends_at timestamptz,
               period smallint, demand_period smallint, priced boolean, buy_per_kwh numeric, sell_per_kwh numeric, price_tier smallint,
               gross boolean, generator_id integer)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_document jsonb;
    v_piece record;
    v_gross boolean;
BEGIN
    FOR v_piece IN
        WITH day AS MATERIALIZED (
            SELECT d.*, row_number() OVER (ORDER BY d.day) - row_number() OVER (PARTITION BY d.tariff_id ORDER BY d.day) AS island
              FROM billing_days(p_meter_id, p_first, p_end) AS d
        ), home AS MATERIALIZED (
            SELECT row_number() OVER (ORDER BY min(d.day))::integer AS account, d.tariff_id, min(d.day) AS first_day, max(d.day) + 1 AS end_day,
                   min(d.starts_at) AS starts_at, max(d.ends_at) AS ends_at
              FROM day AS d GROUP BY d.tariff_id, d.island
        ), bill AS MATERIALIZED (
            SELECT min(h.starts_at) AS starts_at, max(h.ends_at) AS ends_at FROM home AS h
        ), assigned AS MATERIALIZED (
            SELECT a.code, a.valid FROM meter_tariffs a, bill AS b WHERE a.meter_id = p_meter_id AND a.valid && tstzrange(b.starts_at, b.ends_at)
        ), cut AS (
            SELECT h.starts_at AS at FROM home AS h
            UNION
            SELECT quarter_ceiling(c.at) FROM (
                SELECT lower(a.valid) AS at FROM assigned AS a
                UNION SELECT upper(a.valid) FROM assigned AS a
                UNION SELECT e.at FROM meter_generators g CROSS JOIN LATERAL (VALUES (lower(g.valid)), (upper(g.valid))) AS e (at) WHERE g.meter_id = p_meter_id
                UNION SELECT e.at FROM tariffs t CROSS JOIN LATERAL (VALUES (lower(t.valid)), (upper(t.valid))) AS e (at)
                       WHERE t.code IN (SELECT a.code FROM assigned AS a)) AS c, bill AS b
             WHERE isfinite(c.at) AND c.at > b.starts_at AND quarter_ceiling(c.at) < b.ends_at
        ), piece AS (
            SELECT c.at AS starts_at, lead(c.at, 1, b.ends_at) OVER (ORDER BY c.at) AS ends_at FROM cut AS c, bill AS b
        ), priced AS (
            SELECT p.starts_at, p.ends_at, h.account, h.tariff_id AS home_id, h.first_day, h.end_day, (tariff_at(a.code, p.starts_at)).tariff_id, g.generator_id
              FROM piece AS p
              JOIN home AS h ON p.starts_at >= h.starts_at AND p.starts_at < h.ends_at
              LEFT JOIN meter_tariffs a ON a.meter_id = p_meter_id AND a.valid @> p.starts_at
              LEFT JOIN meter_generators g ON g.meter_id = p_meter_id AND g.valid @> p.starts_at
        )
        SELECT x.starts_at, x.ends_at, x.tariff_id, x.generator_id, x.tariff_id IS NOT DISTINCT FROM x.home_id AS whole,
               CASE WHEN x.tariff_id IS NOT DISTINCT FROM x.home_id THEN x.account
                    ELSE (SELECT count(*)::integer FROM home) + (dense_rank() OVER (ORDER BY x.tariff_id IS NOT DISTINCT FROM x.home_id, x.tariff_id))::integer END AS account,
               CASE WHEN x.tariff_id IS NOT DISTINCT FROM x.home_id THEN x.first_day ELSE p_first END AS first_day,
               CASE WHEN x.tariff_id IS NOT DISTINCT FROM x.home_id THEN x.end_day ELSE p_end END AS end_day
          FROM priced AS x ORDER BY x.starts_at
    LOOP
        IF v_piece.tariff_id IS NULL THEN
            RETURN QUERY SELECT v_piece.account, NULL::integer, v_piece.whole, v_piece.first_day, v_piece.end_day, v_piece.starts_at, v_piece.ends_at,
                                NULL::smallint, NULL::smallint, false, NULL::numeric, NULL::numeric, NULL::smallint, false, NULL::integer;
            CONTINUE;
        END IF;
        v_document := billing_document(v_piece.tariff_id, v_piece.whole);
        v_gross := v_document #>> '{metering,rule}' = 'buy_all_sell_all';
        IF NOT coalesce((v_document ->> 'price_series')::boolean OR (v_document ->> 'regional_price')::boolean, false) THEN
            RETURN QUERY SELECT v_piece.account, v_piece.tariff_id, v_piece.whole, v_piece.first_day, v_piece.end_day, s.starts_at, s.ends_at, s.period, s.demand_period,
                                true, NULL::numeric, NULL::numeric, NULL::smallint, v_gross, CASE WHEN v_gross THEN v_piece.generator_id END
                           FROM tariff_segments(v_document, v_piece.starts_at, v_piece.ends_at) AS s;
            CONTINUE;
        END IF;
        -- Segments end where a price does, too; while it stays the same they do not.
        RETURN QUERY
        WITH segment AS MATERIALIZED (
            SELECT s.* FROM tariff_segments(v_document, v_piece.starts_at, v_piece.ends_at) AS s
        ), price AS MATERIALIZED (
            SELECT p.* FROM billing_prices(p_meter_id, v_piece.tariff_id, v_piece.starts_at, v_piece.ends_at) AS p
        ), cut AS (
            SELECT greatest(s.starts_at, p.starts_at) AS starts_at, least(s.ends_at, p.ends_at) AS ends_at, s.period, s.demand_period, true AS priced,
                   p.buy_per_kwh, p.sell_per_kwh, p.tier
              FROM segment AS s JOIN price AS p ON p.starts_at < s.ends_at AND p.ends_at > s.starts_at
            UNION ALL
            SELECT lower(u.span), upper(u.span), s.period, s.demand_period, false, NULL, NULL, NULL
              FROM segment AS s
             CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(s.starts_at, s.ends_at))
                                       - coalesce((SELECT range_agg(tstzrange(p.starts_at, p.ends_at)) FROM price AS p), '{}')) AS u (span)
        )
        SELECT v_piece.account, v_piece.tariff_id, v_piece.whole, v_piece.first_day, v_piece.end_day, c.starts_at, c.ends_at, c.period, c.demand_period, c.priced,
               c.buy_per_kwh, c.sell_per_kwh, c.tier, v_gross, CASE WHEN v_gross THEN v_piece.generator_id END
          FROM cut AS c ORDER BY c.starts_at;
    END LOOP;
END
$$;
COMMENT ON FUNCTION billing_plan(integer, date, date) IS 'The segments of a bill: spans in which neither price table nor period nor the price of a kWh changes, each with the account that it is rated in; tariff_id NULL where it has no tariff, priced false where that tariff has no price; gross where it buys and sells all, by what the generator''s meter tells';

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
GRANT EXECUTE ON FUNCTION billing_bound(integer, date), billing_days(integer, date, date), billing_parts(integer, date, date),
    billing_plan(integer, date, date), billing_prices(integer, integer, timestamptz, timestamptz), billing_document(integer, boolean) TO segs_worker, segs_readonly;
