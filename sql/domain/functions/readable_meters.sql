-- Who asks and what they may read, in one statement: what screens ask for all the time must not take three. It is the rule of
-- the policies of meters and of caller_spans(), written out, so that it is planned once; a test holds the two together.

CREATE OR REPLACE FUNCTION readable_meters(
    p_user_id integer, p_family_id uuid, p_jti uuid, p_now timestamptz, p_codes text[],
    OUT role text, OUT codes text[], OUT meters integer[], OUT grants text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    role := session_role(p_user_id, p_family_id, p_jti, p_now);
    IF role IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(r.meter_code), array_agg(r.meter_id), json_object_agg(r.meter_id, r.spans)::text
      INTO codes, meters, grants
      FROM (SELECT m.meter_code, m.meter_id,
                   CASE role WHEN 'ADMIN' THEN '[["-infinity", "infinity"]]'::json ELSE (
                       SELECT json_agg(json_build_array(lower(u.span), upper(u.span)))
                         FROM unnest((SELECT range_agg(s.valid)
                                        FROM (SELECT o.valid FROM meter_owners AS o
                                               WHERE o.meter_id = m.meter_id AND o.user_id = p_user_id
                                              UNION ALL
                                              SELECT l.valid FROM meter_locations AS l
                                               WHERE role = 'OPERATOR' AND l.meter_id = m.meter_id
                                                 AND l.region IN (SELECT g.region FROM operator_regions AS g
                                                                   WHERE g.user_id = p_user_id)) AS s)) AS u (span)) END AS spans
              FROM meters AS m
             WHERE m.meter_code = ANY (p_codes)
               AND (role = 'ADMIN'
                    OR EXISTS (SELECT FROM meter_owners AS o
                                WHERE o.meter_id = m.meter_id AND o.user_id = p_user_id
                                  AND lower(o.valid) <= statement_timestamp())
                    OR role = 'OPERATOR'
                       AND EXISTS (SELECT FROM meter_locations AS l JOIN operator_regions AS g ON g.region = l.region
                                    WHERE l.meter_id = m.meter_id AND g.user_id = p_user_id
                                      AND l.valid @> statement_timestamp()))) AS r
     WHERE r.spans IS NOT NULL;
END
$$;
COMMENT ON FUNCTION readable_meters(integer, uuid, uuid, timestamptz, text[]) IS 'session_role(), and those of the meters that the user may read at some time: codes, numbers, and what to tell the telemetry database (segs.grants). role is NULL where the session is over';
GRANT EXECUTE ON FUNCTION readable_meters(integer, uuid, uuid, timestamptz, text[]) TO segs_api;
