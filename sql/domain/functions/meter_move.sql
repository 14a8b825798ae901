CREATE OR REPLACE FUNCTION meter_move(p_meter_code text, p_region text, p_timezone text, p_from timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_here meter_locations;
    v_timezone text;
BEGIN
    SELECT l.* INTO v_here
      FROM meters m JOIN meter_locations l USING (meter_id)
     WHERE m.meter_code = p_meter_code AND l.valid @> p_from
       FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    SELECT coalesce(p_timezone, r.timezone) INTO v_timezone FROM regions r WHERE r.region = p_region;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    IF lower(v_here.valid) = p_from THEN
        UPDATE meter_locations SET region = p_region, timezone = v_timezone WHERE meter_location_id = v_here.meter_location_id;
    ELSIF (v_here.region, v_here.timezone) IS DISTINCT FROM (p_region, v_timezone) THEN
        UPDATE meter_locations SET valid = tstzrange(lower(valid), p_from) WHERE meter_location_id = v_here.meter_location_id;
        INSERT INTO meter_locations (meter_id, region, timezone, valid, created_at, updated_at)
        VALUES (v_here.meter_id, p_region, v_timezone, tstzrange(p_from, upper(v_here.valid)), p_now, p_now);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    IF caller_id() IS NULL THEN
        RAISE;
    END IF;
    RAISE EXCEPTION 'region % is not one of yours', p_region USING ERRCODE = 'SG070', HINT = 'Ask an admin.';
END
$$;
COMMENT ON FUNCTION meter_move(text, text, text, timestamptz, timestamptz) IS 'A meter is in another region, or zone (NULL for the region''s), from p_from on, until a move that is planned for later; raises SG022 no such meter, SG024 no such region, SG070 the region is not one of the caller''s';
GRANT EXECUTE ON FUNCTION meter_move(text, text, text, timestamptz, timestamptz) TO segs_api;
