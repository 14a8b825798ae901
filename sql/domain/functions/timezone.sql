-- Reading every name (pg_timezone_names) takes milliseconds a row and accepts nothing more: a name without digits that
-- the server can convert with is an IANA zone, only POSIX strings like XYZ5 need keeping out.
CREATE OR REPLACE FUNCTION is_timezone(p_timezone text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_timezone !~ '^(UTC|Etc/GMT[+-][0-9]{1,2}|[A-Z][A-Za-z_]*(/[A-Z][A-Za-z_-]*)+)$' THEN
        RETURN false;
    END IF;
    PERFORM timestamptz '2000-01-01 00:00+00' AT TIME ZONE p_timezone;
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION is_timezone(text) IS 'Whether the text is the name of an IANA zone that the server knows: Region/City or UTC';
GRANT EXECUTE ON FUNCTION is_timezone(text) TO segs_api, segs_worker;
