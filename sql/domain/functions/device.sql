-- A meter's number is drawn and not told by the row that is made: whoever may make a meter in a region sees it only once it
-- is there.
CREATE OR REPLACE FUNCTION meter_add(
    p_region text, p_timezone text, p_model text, p_serial text, p_max_power_w double precision, p_now timestamptz,
    p_status text DEFAULT 'active', OUT meter_id integer, OUT meter_code text)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_timezone text;
BEGIN
    SELECT coalesce(p_timezone, r.timezone) INTO v_timezone FROM regions r WHERE r.region = p_region;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    meter_id := nextval('meters_meter_id_seq');
    BEGIN
        INSERT INTO meters (meter_id, status, model, serial, max_power_w, created_at, updated_at) OVERRIDING SYSTEM VALUE
        VALUES (meter_add.meter_id, p_status, p_model, p_serial, coalesce(p_max_power_w, 1e6), p_now, p_now);
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'meter % serial % is registered %', p_model, p_serial,
            coalesce('as ' || (SELECT m.meter_code FROM meters m WHERE m.model = p_model AND m.serial = p_serial), 'already')
            USING ERRCODE = 'SG025', HINT = 'Give its meter code.';
    END;
    INSERT INTO meter_locations (meter_id, region, timezone, created_at, updated_at)
    VALUES (meter_add.meter_id, p_region, v_timezone, p_now, p_now);
    SELECT m.meter_code INTO STRICT meter_code FROM meters m WHERE m.meter_id = meter_add.meter_id;
EXCEPTION WHEN insufficient_privilege THEN
    IF caller_id() IS NULL THEN
        RAISE;
    END IF;
    RAISE EXCEPTION 'region % is not one of yours', p_region USING ERRCODE = 'SG070', HINT = 'Ask an admin.';
END
$$;
COMMENT ON FUNCTION meter_add(text, text, text, text, double precision, timestamptz, text) IS 'A new meter that is in a region from the beginning of time; zone NULL is the region''s, power in W; raises SG024 no such region, SG025 serial known, SG070 the region is not one of the caller''s';
GRANT EXECUTE ON FUNCTION meter_add(text, text, text, text, double precision, timestamptz, text) TO segs_api;

CREATE OR REPLACE FUNCTION device_taken_until(p_gateway_id integer, p_device text) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT max(upper(d.valid)) FROM devices d WHERE d.gateway_id = p_gateway_id AND d.device = p_device
$$;
COMMENT ON FUNCTION device_taken_until(integer, text) IS 'Until when a device is, or was, a meter, also one that the caller does not see; NULL where it never was';
GRANT EXECUTE ON FUNCTION device_taken_until(integer, text) TO segs_api;

-- The first registration of a device holds from the beginning of time, so that what waits in the quarantine is stored;
-- a device that was another meter before, or a meter that had another device, goes on where that ended.
CREATE OR REPLACE FUNCTION device_register(
    p_gateway text, p_device text, p_region text, p_timezone text, p_model text, p_serial text, p_interval_ms integer,
    p_max_power_w double precision, p_now timestamptz, p_meter_code text DEFAULT NULL,
    OUT meter_id integer, OUT meter_code text)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_gateway_id CONSTANT integer := gateway_id_of(p_gateway);
    v_current record;
    v_from timestamptz := device_taken_until(v_gateway_id, p_device);
BEGIN
    IF v_from > p_now THEN
        RAISE EXCEPTION 'device % of gateway % is % already', p_device, p_gateway, coalesce(
            (SELECT m.meter_code FROM devices d JOIN meters m USING (meter_id)
              WHERE d.gateway_id = v_gateway_id AND d.device = p_device AND upper(d.valid) = v_from), 'a meter')
            USING ERRCODE = 'SG020', HINT = 'End that registration first.';
    END IF;
    v_from := coalesce(v_from, '-infinity');

    IF p_meter_code IS NULL THEN
        SELECT a.meter_id, a.meter_code INTO meter_id, meter_code
          FROM meter_add(p_region, p_timezone, p_model, p_serial, p_max_power_w, p_now) AS a;
    ELSE
        SELECT m.meter_id, m.meter_code INTO meter_id, meter_code FROM meters m WHERE m.meter_code = p_meter_code;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
        END IF;
        SELECT g.name, d.device, d.valid INTO v_current
          FROM devices d JOIN gateways g USING (gateway_id)
         WHERE d.meter_id = device_register.meter_id
         ORDER BY upper(d.valid) DESC LIMIT 1;
        IF FOUND AND upper(v_current.valid) > p_now THEN
            RAISE EXCEPTION 'meter % is read as device % of gateway %', p_meter_code, v_current.device, v_current.name
                USING ERRCODE = 'SG023', HINT = 'End that registration first.';
        END IF;
        v_from := greatest(v_from, upper(v_current.valid));
    END IF;

    INSERT INTO devices (gateway_id, device, meter_id, interval_ms, valid, created_at, updated_at)
    VALUES (v_gateway_id, p_device, meter_id, p_interval_ms, tstzrange(v_from, 'infinity'), p_now, p_now);
EXCEPTION WHEN exclusion_violation THEN
    RAISE EXCEPTION 'device % of gateway % was registered at the same instant', p_device, p_gateway USING ERRCODE = 'SG020';
END
$$;
COMMENT ON FUNCTION device_register(text, text, text, text, text, text, integer, double precision, timestamptz, text) IS 'Says which meter a gateway''s device is: a new one, or that of p_meter_code; zone NULL is the region''s, and both are the new meter''s from the beginning of time; interval in ms, power in W; raises SG010, SG020 device taken, SG022 no such meter, SG023 meter read elsewhere, SG024 no such region, SG025 serial known, SG070 the region is not one of the caller''s';
GRANT EXECUTE ON FUNCTION device_register(text, text, text, text, text, text, integer, double precision, timestamptz, text) TO segs_api;

CREATE OR REPLACE FUNCTION device_unregister(p_gateway text, p_device text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_code text;
BEGIN
    UPDATE devices d
       SET valid = tstzrange(lower(d.valid), p_now)
      FROM meters m
     WHERE m.meter_id = d.meter_id AND d.gateway_id = gateway_id_of(p_gateway) AND d.device = p_device
       AND upper(d.valid) = 'infinity' AND lower(d.valid) < p_now
    RETURNING m.meter_code INTO v_meter_code;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'device % of gateway % is no meter now', p_device, p_gateway USING ERRCODE = 'SG021';
    END IF;
    RETURN v_meter_code;
END
$$;
COMMENT ON FUNCTION device_unregister(text, text, timestamptz) IS 'Ends the registration of a device; readings before p_now stay the meter''s; returns its code; raises SG010, SG021 not registered';
GRANT EXECUTE ON FUNCTION device_unregister(text, text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION device_move(
    p_gateway text, p_device text, p_to_gateway text, p_to_device text, p_interval_ms integer, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_interval_ms integer;
    v_meter_code text;
BEGIN
    SELECT d.interval_ms INTO v_interval_ms FROM devices d
     WHERE d.gateway_id = gateway_id_of(p_gateway) AND d.device = p_device AND upper(d.valid) = 'infinity';
    v_meter_code := device_unregister(p_gateway, p_device, p_now);
    PERFORM device_register(p_to_gateway, p_to_device, NULL, NULL, NULL, NULL, coalesce(p_interval_ms, v_interval_ms), NULL,
                            p_now, v_meter_code);
    RETURN v_meter_code;
END
$$;
COMMENT ON FUNCTION device_move(text, text, text, text, integer, timestamptz) IS 'A meter is read as another device, of the same gateway or another, from p_now on; interval in ms, NULL for that of before. Returns its code. Raises SG010, SG020 device taken, SG021 not registered';
GRANT EXECUTE ON FUNCTION device_move(text, text, text, text, integer, timestamptz) TO segs_api;
