-- Who asks and what they may read, in one statement: what screens ask for all the time must not take three. It is the rule of
-- the policies of meters and of caller_spans(), written out, so that it is planned once; a test holds the two together.

CREATE OR REPLACE FUNCTION readable_meters(
    p_user_id integer, p_family_id uuid, p_jti uuid, p_now timestamptz, p_codes text[],
    OUT role text, OUT codes text[], OUT meters integer[], OUT grants text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    role := session_role(p_user_id, p_family_id, p_jti, p_now);
    IF role IS DISTINCT FROM 'USER' THEN
        RETURN;
    END IF;
    SELECT array_agg(m.meter_code), array_agg(m.meter_id), json_object_agg(m.meter_id, t.spans)::text
      INTO codes, meters, grants
      FROM meters AS m
     CROSS JOIN LATERAL (
         SELECT json_agg(json_build_array(lower(w.span), upper(w.span))) AS spans
           FROM (SELECT unnest(range_agg(o.valid)) AS span FROM meter_owners AS o
                  WHERE o.meter_id = m.meter_id AND o.user_id = p_user_id
                 HAVING min(lower(o.valid)) <= statement_timestamp()) AS w) AS t
     WHERE m.meter_code = ANY (p_codes) AND t.spans IS NOT NULL;
END
$$;
COMMENT ON FUNCTION readable_meters(integer, uuid, uuid, timestamptz, text[]) IS 'session_role(), and those of the meters that the customer may read at some time: codes, numbers, and what to tell the telemetry database (segs.grants). role is NULL where the session is over; an operator or admin hears their role and nothing else, and asks readable_meters_watched()';
GRANT EXECUTE ON FUNCTION readable_meters(integer, uuid, uuid, timestamptz, text[]) TO segs_api;

CREATE OR REPLACE FUNCTION readable_meters_watched(
    p_user_id integer, p_family_id uuid, p_jti uuid, p_now timestamptz, p_codes text[], p_request_id text, p_what text, p_every interval,
    OUT role text, OUT codes text[], OUT meters integer[], OUT grants text, OUT second_factor_missing boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meters integer[];
    v_details CONSTANT jsonb := CASE WHEN cardinality(p_codes) = 1 THEN jsonb_build_object('code', p_codes[1])
                                     ELSE jsonb_build_object('codes', p_codes) END;
BEGIN
    SELECT e.role, e.second_factor_missing INTO role, second_factor_missing
      FROM session_enter(p_user_id, p_family_id, p_jti, p_request_id, p_now) AS e;
    IF role IS NULL THEN
        RETURN;
    END IF;
    v_meters := ARRAY(SELECT m.meter_id FROM meters AS m WHERE m.meter_code = ANY (p_codes) ORDER BY m.meter_id);
    -- A later statement than the one that writes, so that nothing is found before it is in the log.
    IF p_every IS NULL
       OR NOT EXISTS (SELECT FROM audit_logs AS a
                       WHERE a.request_id = p_request_id AND a.actor = 'user:' || p_user_id AND a.action = 'READ'
                         AND a.table_name = p_what AND a.meters = v_meters AND a.occurred_at > clock_timestamp() - p_every) THEN
        PERFORM audit_access(p_what, v_meters, NULL, v_details);
    END IF;
    SELECT array_agg(m.meter_code), array_agg(m.meter_id), json_object_agg(m.meter_id, (
               SELECT json_agg(json_build_array(lower(u.span), upper(u.span))) FROM unnest(s.spans) AS u (span)))::text
      INTO codes, meters, grants
      FROM meters AS m
     CROSS JOIN LATERAL (SELECT caller_spans(m.meter_id) AS spans) AS s
     WHERE m.meter_code = ANY (p_codes) AND NOT isempty(s.spans)
       AND (caller_role() = 'ADMIN' OR m.meter_id = ANY (caller_meters())
            OR EXISTS (SELECT FROM meter_locations AS l
                        WHERE l.meter_id = m.meter_id AND l.region = ANY (caller_regions()) AND l.valid @> statement_timestamp()));
END
$$;
COMMENT ON FUNCTION readable_meters_watched(integer, uuid, uuid, timestamptz, text[], text, text, interval) IS 'readable_meters() for operators and admins: writes down that they look at these meters, once for a request that asks again within p_every, and then says which of them they may read. role is NULL where the session is over, or lacks the second factor that the role asks for';
GRANT EXECUTE ON FUNCTION readable_meters_watched(integer, uuid, uuid, timestamptz, text[], text, text, interval) TO segs_api;
