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
