-- Who looks after what: for functions that do as the owner what row-level security cannot judge.

CREATE OR REPLACE FUNCTION kept_meter(p_meter_code text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_meter record;
BEGIN
    SELECT m.meter_id, l.region INTO v_meter
      FROM meters m LEFT JOIN meter_locations l ON l.meter_id = m.meter_id AND l.valid @> statement_timestamp()
     WHERE m.meter_code = p_meter_code;
    IF FOUND AND (caller_role() = 'ADMIN' OR v_meter.region = ANY (caller_regions())) THEN
        RETURN v_meter.meter_id;
    END IF;
    IF v_meter.meter_id = ANY (caller_meters()) THEN
        RAISE EXCEPTION 'meter % is looked after by the operators of its region', p_meter_code USING ERRCODE = 'SG070';
    END IF;
    RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
END
$$;
COMMENT ON FUNCTION kept_meter(text) IS 'The meter of this code, if the caller looks after it: an operator of the region where it is now, or an admin; raises SG022 where they see none, SG070 where it is theirs to see and no more';

CREATE OR REPLACE FUNCTION caller_gives_meter(p_meter_code text, p_user_id integer, p_from timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id CONSTANT integer := kept_meter(p_meter_code);
BEGIN
    IF p_user_id IS NULL THEN
        IF NOT EXISTS (SELECT FROM meter_owners o WHERE o.meter_id = v_meter_id AND o.valid @> p_from) THEN
            RAISE EXCEPTION 'meter % is nobody''s at %', p_meter_code, p_from USING ERRCODE = 'SG074';
        END IF;
    ELSIF NOT EXISTS (SELECT FROM users u WHERE u.user_id = p_user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL
                         AND (caller_role() = 'ADMIN' OR u.role = 'USER' AND u.region = ANY (caller_regions()))) THEN
        RAISE EXCEPTION 'there is no user %', p_user_id
            USING ERRCODE = 'SG051', HINT = 'A customer of another region claims the meter by a code.';
    END IF;
    PERFORM meter_give(p_meter_code, p_user_id, p_from, p_now);
END
$$;
COMMENT ON FUNCTION caller_gives_meter(text, integer, timestamptz, timestamptz) IS 'meter_give() for who looks after the meter, to a customer whom they see; raises SG022 no such meter, SG051 no such user, SG053 given at that time or later already, SG070 not theirs to give, SG074 nobody''s then';
GRANT EXECUTE ON FUNCTION caller_gives_meter(text, integer, timestamptz, timestamptz) TO segs_api;

-- A policy of devices cannot ask for gateways, whose policy asks for devices.
CREATE OR REPLACE FUNCTION caller_sees_gateway(p_gateway_id integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT caller_role() = 'ADMIN' OR EXISTS (
        SELECT FROM gateways g
         WHERE g.gateway_id = p_gateway_id
           AND (g.region = ANY (caller_regions())
                OR EXISTS (SELECT FROM devices d JOIN meter_locations l USING (meter_id)
                            WHERE d.gateway_id = p_gateway_id AND d.valid @> statement_timestamp()
                              AND l.region = ANY (caller_regions()) AND l.valid @> statement_timestamp())))
$$;
COMMENT ON FUNCTION caller_sees_gateway(integer) IS 'Whether the caller sees the gateway: an admin, or an operator of its region or of a meter that it reads now';
GRANT EXECUTE ON FUNCTION caller_sees_gateway(integer) TO segs_api;
