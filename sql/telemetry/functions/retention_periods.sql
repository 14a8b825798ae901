-- The one place that says how long a hypertable keeps its rows; policies (on Community) and the retention worker read it.

CREATE OR REPLACE FUNCTION retention_periods() RETURNS TABLE (hypertable text, keep interval)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT * FROM (VALUES ('raw_readings', INTERVAL '7 days'),
                          ('aggregates_1m', INTERVAL '30 days'),
                          ('aggregates_15m', INTERVAL '365 days'),
                          ('regional_15m', INTERVAL '365 days')) AS period (hypertable, keep);
END;
COMMENT ON FUNCTION retention_periods() IS 'How long each hypertable keeps its rows';

CREATE OR REPLACE FUNCTION retention_horizon(p_hypertable text, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$ SELECT p_now - keep FROM retention_periods() WHERE hypertable = p_hypertable $$;
COMMENT ON FUNCTION retention_horizon(text, timestamptz) IS 'Before this time rows of the hypertable may be gone; NULL for a table without a period';
GRANT EXECUTE ON FUNCTION retention_periods() TO segs_worker, segs_api, segs_readonly;
GRANT EXECUTE ON FUNCTION retention_horizon(text, timestamptz) TO segs_worker, segs_api, segs_readonly;
