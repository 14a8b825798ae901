CREATE OR REPLACE FUNCTION tariff_rates(p_document jsonb)
RETURNS TABLE (component text, period smallint, tier smallint, tier_min numeric, tier_max numeric, unit text, rate numeric, adjustment numeric, sell numeric)
LANGUAGE sql IMMUTABLE SET search_path = public, pg_temp AS $$
    SELECT s.component, (p.n - 1)::smallint, (t.n - 1)::smallint,
           coalesce(lag((t.tier ->> 'max')::numeric) OVER (PARTITION BY s.component, p.n ORDER BY t.n), 0),
           (t.tier ->> 'max')::numeric, t.tier ->> 'unit', (t.tier ->> 'rate')::numeric, (t.tier ->> 'adj')::numeric,
           (t.tier ->> 'sell')::numeric
      FROM (VALUES ('energy', 'energyratestructure'), ('demand_flat', 'flatdemandstructure'),
                   ('demand_tou', 'demandratestructure')) AS s (component, key)
     CROSS JOIN LATERAL jsonb_array_elements(p_document -> s.key) WITH ORDINALITY AS p (tiers, n)
     CROSS JOIN LATERAL jsonb_array_elements(p.tiers) WITH ORDINALITY AS t (tier, n);
$$;
COMMENT ON FUNCTION tariff_rates(jsonb) IS 'The rate structures of a document in normal form: a row per component, period and tier; tier_max NULL for the last';

CREATE OR REPLACE FUNCTION tariff_calendar(p_document jsonb, p_at timestamptz[])
RETURNS TABLE (at timestamptz, day date, period smallint, demand_period smallint)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- What the document says is read once, and not for each instant.
    v_timezone CONSTANT text := p_document ->> 'timezone';
    v_holidays CONSTANT jsonb := p_document -> 'holidays';
    v_demand_holidays CONSTANT boolean := p_document ->> 'demand_holidays';
BEGIN
    RETURN QUERY
    WITH schedule AS MATERIALIZED (
        SELECT k.demand, k.weekend, m.n AS month, h.n - 1 AS hour, h.period::smallint AS period
          FROM (VALUES (false, false, 'energyweekdayschedule'), (false, true, 'energyweekendschedule'),
                       (true, false, 'demandweekdayschedule'), (true, true, 'demandweekendschedule')) AS k (demand, weekend, key)
         CROSS JOIN LATERAL jsonb_array_elements(p_document -> k.key) WITH ORDINALITY AS m (hours, n)
         CROSS JOIN LATERAL jsonb_array_elements_text(m.hours) WITH ORDINALITY AS h (period, n)
    ), moment AS MATERIALIZED (
        SELECT a.at, a.at AT TIME ZONE v_timezone AS local FROM unnest(p_at) AS a (at)
    ), kind AS MATERIALIZED (
        SELECT m.at, m.local, EXTRACT(month FROM m.local)::bigint AS month, EXTRACT(hour FROM m.local)::bigint AS hour, EXTRACT(isodow FROM m.local) >= 6 AS weekend,
               v_holidays ? to_char(m.local, 'YYYY-MM-DD') AS holiday
          FROM moment AS m
    )
    SELECT k.at, k.local::date, e.period, d.period
      FROM kind AS k
      JOIN schedule AS e ON NOT e.demand AND e.weekend = (k.weekend OR k.holiday)
                        AND e.month = k.month AND e.hour = k.hour
      LEFT JOIN schedule AS d ON d.demand AND d.weekend = (k.weekend OR k.holiday AND v_demand_holidays)
                        AND d.month = k.month AND d.hour = k.hour;
END
$$;
COMMENT ON FUNCTION tariff_calendar(jsonb, timestamptz[]) IS 'Local day, energy period and demand period of instants, by a document in normal form; demand_period NULL where the document has none';

CREATE OR REPLACE FUNCTION tariff_segments(p_document jsonb, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz, month date, period smallint, demand_period smallint)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- What the document says is read once, and not for each instant.
    v_timezone CONSTANT text := p_document ->> 'timezone';
    -- Hours of a day at which a period may change.
    v_turns CONSTANT bigint[] := ARRAY(
        SELECT DISTINCT h.n - 1
          FROM (SELECT DISTINCT m.hours
                  FROM unnest(ARRAY['energyweekdayschedule', 'energyweekendschedule', 'demandweekdayschedule', 'demandweekendschedule']) AS k (key)
                 CROSS JOIN LATERAL jsonb_array_elements(p_document -> k.key) AS m (hours)) AS m
         CROSS JOIN LATERAL jsonb_array_elements(m.hours) WITH ORDINALITY AS h (period, n)
         WHERE h.n = 1 OR h.period <> m.hours -> h.n::integer - 2);
    v_starts CONSTANT timestamptz[] := ARRAY(
        SELECT p_from WHERE p_from < p_to
        UNION
        SELECT s.at
          -- Clocks that are put back just after midnight go on in the day before.
          FROM generate_series(date_trunc('day', p_from AT TIME ZONE v_timezone) - INTERVAL '1 day', p_to AT TIME ZONE v_timezone, INTERVAL '1 day') AS d (local)
         CROSS JOIN LATERAL (SELECT d.local AT TIME ZONE v_timezone AS starts_at, (d.local + INTERVAL '1 day') AT TIME ZONE v_timezone AS ends_at) AS b
         CROSS JOIN LATERAL (SELECT b.ends_at - b.starts_at = INTERVAL '24 hours' AND EXTRACT(epoch FROM b.starts_at) % 900 = 0 AS even) AS k
         CROSS JOIN LATERAL (
            SELECT b.starts_at + t.hour * INTERVAL '1 hour' FROM unnest(v_turns) AS t (hour) WHERE k.even
            UNION ALL
            -- The clock is changed on this day, perhaps by half an hour or in the middle of one; or hours begin between quarters.
            SELECT q.at FROM generate_series(date_bin(INTERVAL '15 minutes', b.starts_at, TIMESTAMPTZ '2000-01-01 00:00Z'), b.ends_at, INTERVAL '15 minutes') AS q (at)
             WHERE NOT k.even) AS s (at)
         WHERE s.at > p_from AND s.at < p_to);
BEGIN
    RETURN QUERY
    WITH kind AS (
        SELECT c.at, lead(c.at, 1, p_to) OVER (ORDER BY c.at) AS ends_at, date_trunc('month', c.day)::date AS month, c.period, c.demand_period
          FROM tariff_calendar(p_document, v_starts) AS c
    ), run AS (
        SELECT k.*, row_number() OVER (ORDER BY k.at)
                    - row_number() OVER (PARTITION BY k.month, k.period, k.demand_period ORDER BY k.at) AS island
          FROM kind AS k
    )
    SELECT min(r.at), max(r.ends_at), r.month, r.period, r.demand_period
      FROM run AS r GROUP BY r.month, r.period, r.demand_period, r.island ORDER BY 1;
END
$$;
COMMENT ON FUNCTION tariff_segments(jsonb, timestamptz, timestamptz) IS 'The spans of a time in which neither month nor period changes, by a document in normal form: of each, energy and peak are enough to rate it';
GRANT EXECUTE ON FUNCTION tariff_rates(jsonb), tariff_calendar(jsonb, timestamptz[]), tariff_segments(jsonb, timestamptz, timestamptz) TO segs_worker, segs_api;
GRANT EXECUTE ON FUNCTION ratio(numeric, numeric), whole_of(numeric), minor_digits(text) TO segs_worker, segs_api;
