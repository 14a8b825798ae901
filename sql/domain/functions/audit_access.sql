-- Operators and admins see somebody else's data in a transaction that has said so beforehand, in the log, and what it has
-- said they will see: the policies of policies/watched.sql ask here. What is one's own needs no words.

CREATE OR REPLACE FUNCTION audit_access(
    p_what text, p_meters integer[], p_users integer[], p_details jsonb DEFAULT '{}', p_span tstzrange DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_subjects integer[];
BEGIN
    IF caller_role() IS NULL THEN
        RAISE EXCEPTION 'nobody is logged in who could look at %', p_what USING ERRCODE = 'SG054';
    END IF;
    IF caller_role() = 'USER' THEN
        RETURN false;
    END IF;
    IF p_meters IS NOT NULL OR p_users IS NOT NULL THEN
        SELECT coalesce(array_agg(DISTINCT s.user_id ORDER BY s.user_id), '{}') INTO v_subjects
          FROM (SELECT unnest(p_users) AS user_id
                UNION ALL
                SELECT o.user_id FROM meter_owners o
                 WHERE o.meter_id = ANY (p_meters)
                   AND o.valid && coalesce(p_span, tstzrange(statement_timestamp(), statement_timestamp(), '[]'))) AS s;
        IF v_subjects = ARRAY[caller_id()] AND coalesce(p_meters, '{}') <@ caller_meters() THEN
            RETURN false;
        END IF;
    END IF;
    INSERT INTO audit_logs (actor, database_role, request_id, action, table_name, row_key, new, subjects, meters)
    VALUES ('user:' || caller_id(), session_user, nullif(current_setting('segs.request_id', true), ''), 'READ', p_what,
            CASE WHEN cardinality(p_meters) = 1 AND coalesce(cardinality(p_users), 0) = 0 THEN
                     coalesce((SELECT m.meter_code FROM meters m WHERE m.meter_id = p_meters[1]), '*')
                 WHEN cardinality(p_users) = 1 AND coalesce(cardinality(p_meters), 0) = 0 THEN p_users[1]::text ELSE '*' END,
            p_details || CASE WHEN p_span IS NULL THEN '{}' ELSE jsonb_build_object('span', p_span) END, v_subjects, p_meters);
    RETURN true;
END
$$;
COMMENT ON FUNCTION audit_access(text, integer[], integer[], jsonb, tstzrange) IS 'Writes down that the caller, an operator or admin, is about to look at p_what: at these meters in this span (now, where it is NULL) and whoever had them, and at these users; NULL for both for what is found by p_details. Nothing is written of what is the caller''s own, nor for a customer, who sees no more than that; returns whether it was. Raises SG054 for nobody';
GRANT EXECUTE ON FUNCTION audit_access(text, integer[], integer[], jsonb, tstzrange) TO segs_api;

CREATE OR REPLACE FUNCTION meter_number(p_meter_code text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.meter_id FROM meters m WHERE m.meter_code = p_meter_code
$$;
COMMENT ON FUNCTION meter_number(text) IS 'meters.meter_id of a code, to say beforehand what is looked at; NULL where there is no such meter';
GRANT EXECUTE ON FUNCTION meter_number(text) TO segs_api;

CREATE OR REPLACE FUNCTION caller_declared() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM audit_logs a
         WHERE a.transaction_id = pg_current_xact_id_if_assigned() AND a.occurred_at >= transaction_timestamp()
           AND a.action = 'READ' AND a.subjects IS NULL AND a.meters IS NULL AND a.actor = 'user:' || caller_id())
$$;
COMMENT ON FUNCTION caller_declared() IS 'Whether this transaction has written down that the caller looks at whatever it finds';
GRANT EXECUTE ON FUNCTION caller_declared() TO segs_api;

CREATE OR REPLACE FUNCTION caller_declared_meters() RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT caller_meters() || ARRAY(
        SELECT unnest(a.meters) FROM audit_logs a
         WHERE a.transaction_id = pg_current_xact_id_if_assigned() AND a.occurred_at >= transaction_timestamp()
           AND a.action = 'READ' AND a.actor = 'user:' || caller_id())
$$;
COMMENT ON FUNCTION caller_declared_meters() IS 'Meters at which this transaction has written down that the caller looks, and the caller''s own';
GRANT EXECUTE ON FUNCTION caller_declared_meters() TO segs_api;

CREATE OR REPLACE FUNCTION caller_declared_users() RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT caller_id() || ARRAY(
        SELECT unnest(a.subjects) FROM audit_logs a
         WHERE a.transaction_id = pg_current_xact_id_if_assigned() AND a.occurred_at >= transaction_timestamp()
           AND a.action = 'READ' AND a.actor = 'user:' || caller_id())
$$;
COMMENT ON FUNCTION caller_declared_users() IS 'Users at whose data this transaction has written down that the caller looks, and the caller';
GRANT EXECUTE ON FUNCTION caller_declared_users() TO segs_api;
