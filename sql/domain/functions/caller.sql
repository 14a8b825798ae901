-- Who asks. The API says whose request a transaction is (segs.user_id), and nothing more: role and regions are the
-- database's own, so that a suspension or another role counts from the next statement on.

CREATE OR REPLACE FUNCTION caller_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT nullif(current_setting('segs.user_id', true), '')::integer
$$;
COMMENT ON FUNCTION caller_id() IS 'The user that this transaction is for, by its setting segs.user_id; NULL for nobody';
GRANT EXECUTE ON FUNCTION caller_id() TO segs_api;

CREATE OR REPLACE FUNCTION caller_role() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.role FROM users u WHERE u.user_id = caller_id() AND u.suspended_at IS NULL AND u.deleted_at IS NULL
$$;
COMMENT ON FUNCTION caller_role() IS 'USER, OPERATOR or ADMIN; NULL for nobody, and for whoever is suspended or has left';
GRANT EXECUTE ON FUNCTION caller_role() TO segs_api;

CREATE OR REPLACE FUNCTION caller_regions() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE caller_role() WHEN 'OPERATOR' THEN
        ARRAY(SELECT o.region FROM operator_regions o WHERE o.user_id = caller_id()) ELSE '{}' END
$$;
COMMENT ON FUNCTION caller_regions() IS 'Regions that the caller looks after as an operator; none for anybody else';
GRANT EXECUTE ON FUNCTION caller_regions() TO segs_api;

CREATE OR REPLACE FUNCTION caller_sites() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT ARRAY(SELECT DISTINCT m.site FROM meters m JOIN meter_locations l USING (meter_id)
                  WHERE m.site IS NOT NULL AND l.region = ANY (caller_regions()) AND l.valid @> statement_timestamp())
$$;
COMMENT ON FUNCTION caller_sites() IS 'Sites with a meter in a region that the caller looks after as an operator; none for anybody else';
GRANT EXECUTE ON FUNCTION caller_sites() TO segs_api;

CREATE OR REPLACE FUNCTION caller_meters() RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN caller_role() IS NULL THEN '{}' ELSE
        ARRAY(SELECT DISTINCT o.meter_id FROM meter_owners o
               WHERE o.user_id = caller_id() AND lower(o.valid) <= statement_timestamp()) END
$$;
COMMENT ON FUNCTION caller_meters() IS 'Meters that are or once were the caller''s own';
GRANT EXECUTE ON FUNCTION caller_meters() TO segs_api;

CREATE OR REPLACE FUNCTION caller_owned(p_meter_id integer, p_span tstzrange) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT caller_role() IS NOT NULL AND EXISTS (
        SELECT FROM meter_owners o
         WHERE o.meter_id = p_meter_id AND o.user_id = caller_id() AND lower(o.valid) <= statement_timestamp()
           AND o.valid && p_span)
$$;
COMMENT ON FUNCTION caller_owned(integer, tstzrange) IS 'Whether the meter was the caller''s own at any time of the span; what is to come does not count yet';
GRANT EXECUTE ON FUNCTION caller_owned(integer, tstzrange) TO segs_api;

CREATE OR REPLACE FUNCTION caller_spans(p_meter_id integer) RETURNS tstzmultirange
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE caller_role() WHEN 'ADMIN' THEN '{[-infinity, infinity)}'::tstzmultirange ELSE coalesce((
        SELECT range_agg(s.valid)
          FROM (SELECT o.valid FROM meter_owners o
                 WHERE o.meter_id = p_meter_id AND o.user_id = caller_id() AND caller_role() IS NOT NULL
                UNION ALL
                SELECT l.valid FROM meter_locations l
                 WHERE l.meter_id = p_meter_id AND l.region = ANY (caller_regions())) AS s (valid)), '{}') END
$$;
COMMENT ON FUNCTION caller_spans(integer) IS 'When the caller may read what the meter measured: while it was theirs, or in a region that they look after; an admin always';
GRANT EXECUTE ON FUNCTION caller_spans(integer) TO segs_api;
