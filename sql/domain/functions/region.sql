CREATE OR REPLACE FUNCTION region_set(p_region text, p_name text, p_timezone text, p_capacity_w double precision, p_now timestamptz)
RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    INSERT INTO regions AS r (region, name, timezone, capacity_w, created_at, updated_at)
    VALUES (p_region, p_name, p_timezone, p_capacity_w, p_now, p_now)
    ON CONFLICT (region) DO UPDATE
       SET name = excluded.name, timezone = excluded.timezone, capacity_w = excluded.capacity_w
     WHERE (r.name, r.timezone, r.capacity_w) IS DISTINCT FROM (excluded.name, excluded.timezone, excluded.capacity_w);
$$;
COMMENT ON FUNCTION region_set(text, text, text, double precision, timestamptz) IS 'Makes a region or changes its name, zone and capacity (W, NULL for unknown); its meters keep their zone';
GRANT EXECUTE ON FUNCTION region_set(text, text, text, double precision, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION regions_there_are() RETURNS text
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT CASE count(*) WHEN 0 THEN 'There is none yet.'
                WHEN 1 THEN format('There is %s.', min(r.region))
                ELSE format('There are %s.', string_agg(r.region, ', ' ORDER BY r.region)) END
    FROM (SELECT region FROM regions ORDER BY region LIMIT 50) AS r;
$$;
COMMENT ON FUNCTION regions_there_are() IS 'The names of regions, at most 50, in a sentence for people who gave another one';
GRANT EXECUTE ON FUNCTION regions_there_are() TO segs_api;
