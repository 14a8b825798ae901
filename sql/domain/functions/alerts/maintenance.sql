-- Work at a meter, a gateway, a site or in a region, of which nobody needs to be told.

CREATE OR REPLACE FUNCTION maintenance_add(
    p_meter_id integer, p_gateway_id integer, p_site text, p_region text, p_from timestamptz, p_until timestamptz, p_reason text, p_now timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_from CONSTANT timestamptz := coalesce(p_from, p_now);
    v_id bigint;
BEGIN
    IF num_nonnulls(p_meter_id, p_gateway_id, p_site, p_region) <> 1 THEN
        RAISE EXCEPTION 'a maintenance window is of a meter, a gateway, a site or a region' USING ERRCODE = 'SG114', HINT = 'Name one of them.';
    END IF;
    IF NOT (isfinite(v_from) AND isfinite(p_until) AND v_from < p_until AND p_until > p_now) THEN
        RAISE EXCEPTION 'from % to % there is no maintenance to come', v_from, p_until USING ERRCODE = 'SG114', HINT = 'Give an end that is yet to come, after the beginning.';
    END IF;
    INSERT INTO maintenance_windows (meter_id, gateway_id, site, region, valid, reason, created_by, created_at, updated_at)
    VALUES (p_meter_id, p_gateway_id, p_site, p_region, tstzrange(v_from, p_until), p_reason, caller_id(), p_now, p_now)
    RETURNING maintenance_window_id INTO v_id;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION maintenance_add(integer, integer, text, text, timestamptz, timestamptz, text, timestamptz) IS 'A maintenance window of one of these, from a time (NULL for now) to another that is yet to come; its number. Raises SG114 for what cannot be';

CREATE OR REPLACE FUNCTION maintenance_end(p_window_id bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_window maintenance_windows;
BEGIN
    SELECT w.* INTO v_window FROM maintenance_windows w WHERE w.maintenance_window_id = p_window_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no maintenance window %', p_window_id USING ERRCODE = 'SG115';
    END IF;
    IF upper(v_window.valid) <= p_now THEN
        RAISE EXCEPTION 'maintenance window % is over since %', p_window_id, upper(v_window.valid) USING ERRCODE = 'SG116';
    END IF;
    IF lower(v_window.valid) >= p_now THEN
        DELETE FROM maintenance_windows w WHERE w.maintenance_window_id = p_window_id;
        RETURN;
    END IF;
    UPDATE maintenance_windows w SET valid = tstzrange(lower(w.valid), p_now) WHERE w.maintenance_window_id = p_window_id;
    -- What waited for its end is looked at now, and waits on where there is another one.
    UPDATE alerts a SET tell_at = p_now WHERE a.tell_at = upper(v_window.valid);
END
$$;
COMMENT ON FUNCTION maintenance_end(bigint, timestamptz) IS 'Ends a maintenance window now; one that has not begun goes. Raises SG115 no such window, SG116 it is over';

CREATE OR REPLACE FUNCTION caller_keeps_maintenance(p_meter_id integer, p_gateway_id integer, p_site text, p_region text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(caller_role() = 'ADMIN' OR p_region = ANY (caller_regions()) OR p_site = ANY (caller_sites())
                    OR p_gateway_id IS NOT NULL AND caller_sees_gateway(p_gateway_id)
                    OR EXISTS (SELECT FROM meter_locations l
                                WHERE l.meter_id = p_meter_id AND l.region = ANY (caller_regions()) AND l.valid @> statement_timestamp()), false)
$$;
COMMENT ON FUNCTION caller_keeps_maintenance(integer, integer, text, text) IS 'Whether the caller looks after this meter, gateway, site or region';

CREATE OR REPLACE FUNCTION maintenance_subject(
    p_meter text, p_gateway text, p_site text, p_region text, OUT meter_id integer, OUT gateway_id integer, OUT site text, OUT region text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    meter_id := (SELECT m.meter_id FROM meters m WHERE m.meter_code = p_meter);
    gateway_id := (SELECT g.gateway_id FROM gateways g WHERE g.name = p_gateway);
    site := (SELECT m.site FROM meters m WHERE m.site = p_site LIMIT 1);
    region := (SELECT r.region FROM regions r WHERE r.region = p_region);
    IF p_meter IS NOT NULL AND meter_id IS NULL THEN
        RAISE EXCEPTION 'there is no meter %', p_meter USING ERRCODE = 'SG022';
    ELSIF p_gateway IS NOT NULL AND gateway_id IS NULL THEN
        RAISE EXCEPTION 'there is no gateway %', p_gateway USING ERRCODE = 'SG010';
    ELSIF p_site IS NOT NULL AND site IS NULL THEN
        RAISE EXCEPTION 'there is no meter of site %', p_site
            USING ERRCODE = 'SG117', HINT = (SELECT CASE count(*) WHEN 0 THEN 'There is none yet.' WHEN 1 THEN format('There is %s.', min(s.site))
                                                         ELSE format('There are %s.', string_agg(s.site, ', ' ORDER BY s.site)) END
                                               FROM (SELECT DISTINCT m.site FROM meters m WHERE m.site IS NOT NULL ORDER BY m.site LIMIT 50) AS s);
    ELSIF p_region IS NOT NULL AND region IS NULL THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
END
$$;
COMMENT ON FUNCTION maintenance_subject(text, text, text, text) IS 'The one that is meant, by the name that people use; raises SG010, SG022, SG024 or SG117 where there is none';

CREATE OR REPLACE FUNCTION caller_adds_maintenance(
    p_meter text, p_gateway text, p_site text, p_region text, p_from timestamptz, p_until timestamptz, p_reason text, p_now timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_on record;
BEGIN
    v_on := maintenance_subject(p_meter, p_gateway, p_site, p_region);
    IF num_nonnulls(p_meter, p_gateway, p_site, p_region) = 1 AND NOT caller_keeps_maintenance(v_on.meter_id, v_on.gateway_id, v_on.site, v_on.region) THEN
        -- The same words as for what is not there.
        RAISE EXCEPTION 'there is no %', CASE WHEN p_meter IS NOT NULL THEN 'meter ' || p_meter WHEN p_gateway IS NOT NULL THEN 'gateway ' || p_gateway
                                              WHEN p_site IS NOT NULL THEN 'meter of site ' || p_site ELSE 'region ' || p_region END USING ERRCODE = 'SG117';
    END IF;
    RETURN maintenance_add(v_on.meter_id, v_on.gateway_id, v_on.site, v_on.region, p_from, p_until, p_reason, p_now);
END
$$;
COMMENT ON FUNCTION caller_adds_maintenance(text, text, text, text, timestamptz, timestamptz, text, timestamptz) IS 'maintenance_add() by who looks after the subject; raises as that does, and SG010, SG022, SG024 or SG117 where they see none';

CREATE OR REPLACE FUNCTION caller_ends_maintenance(p_window_id bigint, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM maintenance_windows w
                    WHERE w.maintenance_window_id = p_window_id AND caller_keeps_maintenance(w.meter_id, w.gateway_id, w.site, w.region)) THEN
        RAISE EXCEPTION 'there is no maintenance window %', p_window_id USING ERRCODE = 'SG115';
    END IF;
    PERFORM maintenance_end(p_window_id, p_now);
END
$$;
COMMENT ON FUNCTION caller_ends_maintenance(bigint, timestamptz) IS 'maintenance_end() by who looks after the subject; raises as that does';
GRANT EXECUTE ON FUNCTION caller_adds_maintenance(text, text, text, text, timestamptz, timestamptz, text, timestamptz),
    caller_ends_maintenance(bigint, timestamptz) TO segs_api;
