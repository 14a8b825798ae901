CREATE OR REPLACE FUNCTION quarter_ceiling(p_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN b.at < p_at THEN b.at + INTERVAL '15 minutes' ELSE b.at END
      FROM (SELECT date_bin(INTERVAL '15 minutes', p_at, TIMESTAMPTZ '2000-01-01 00:00Z') AS at) AS b
$$;
COMMENT ON FUNCTION quarter_ceiling(timestamptz) IS 'The first quarter-hour that begins at p_at or later';
GRANT EXECUTE ON FUNCTION quarter_ceiling(timestamptz) TO segs_worker, segs_readonly;
