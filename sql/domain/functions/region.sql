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

CREATE OR REPLACE FUNCTION region_capacity_set(p_region text, p_capacity_w double precision, p_from timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_here region_capacities;
    v_end timestamptz;
BEGIN
    PERFORM FROM regions r WHERE r.region = p_region FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    IF p_from > p_now THEN
        RAISE EXCEPTION 'a capacity from % on is not there yet', p_from USING ERRCODE = 'SG071', HINT = 'Tell it when it is.';
    END IF;
    SELECT c.* INTO v_here FROM region_capacities c WHERE c.region = p_region AND c.valid @> p_from;
    v_end := coalesce(upper(v_here.valid), (SELECT min(lower(c.valid)) FROM region_capacities c
                                             WHERE c.region = p_region AND lower(c.valid) > p_from), 'infinity');
    IF v_here.capacity_w IS NOT DISTINCT FROM p_capacity_w THEN
        RETURN;
    END IF;
    IF lower(v_here.valid) = p_from THEN
        DELETE FROM region_capacities c WHERE c.region_capacity_id = v_here.region_capacity_id;
    ELSE
        UPDATE region_capacities SET valid = tstzrange(lower(valid), p_from) WHERE region_capacity_id = v_here.region_capacity_id;
    END IF;
    IF p_capacity_w IS NOT NULL THEN
        INSERT INTO region_capacities (region, capacity_w, valid) VALUES (p_region, p_capacity_w, tstzrange(p_from, v_end));
    END IF;
    -- The present one, last: history says it already, and so its trigger has nothing to write.
    UPDATE regions r SET capacity_w = (SELECT c.capacity_w FROM region_capacities c WHERE c.region = p_region AND upper(c.valid) = 'infinity')
     WHERE r.region = p_region;
END
$$;
COMMENT ON FUNCTION region_capacity_set(text, double precision, timestamptz, timestamptz) IS 'What a region''s supply can carry (W, NULL for unknown) from p_from on, until a change that was told for later; raises SG024 no such region, SG071 not yet';

CREATE OR REPLACE FUNCTION caller_sets_capacity(p_region text, p_capacity_w double precision, p_from timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF caller_role() IS DISTINCT FROM 'ADMIN' THEN
        RAISE EXCEPTION 'what a region can carry is for admins to say' USING ERRCODE = 'SG070';
    END IF;
    PERFORM region_capacity_set(p_region, p_capacity_w, p_from, p_now);
END
$$;
COMMENT ON FUNCTION caller_sets_capacity(text, double precision, timestamptz, timestamptz) IS 'region_capacity_set() for an admin; raises SG070 for anybody else';
GRANT EXECUTE ON FUNCTION caller_sets_capacity(text, double precision, timestamptz, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION region_remove(p_region text) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_named text;
BEGIN
    DELETE FROM regions r WHERE r.region = p_region;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
EXCEPTION WHEN foreign_key_violation THEN
    SELECT string_agg(n.count || ' ' || n.what, ', ') INTO v_named
      FROM (SELECT count(DISTINCT meter_id), 'meters that are or were there' FROM meter_locations WHERE region = p_region
            UNION ALL SELECT count(*), 'gateways' FROM gateways WHERE region = p_region
            UNION ALL SELECT count(*), 'tariffs' FROM tariffs WHERE region = p_region
            UNION ALL SELECT count(*), 'prices' FROM region_prices WHERE region = p_region
            UNION ALL SELECT count(*), 'people' FROM users WHERE region = p_region
            UNION ALL SELECT count(*), 'alerts' FROM alerts WHERE region = p_region) AS n (count, what)
     WHERE n.count > 0;
    RAISE EXCEPTION 'region % stays, for it is named by %', p_region, v_named
        USING ERRCODE = 'SG072', HINT = 'Only a region that nothing was ever in goes.';
END
$$;
COMMENT ON FUNCTION region_remove(text) IS 'A region that was made by mistake goes; raises SG024 no such region, SG072 something names it';
