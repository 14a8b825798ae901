-- The Apache edition has neither continuous aggregates nor policies, and a Community server can be told to behave like it.

CREATE OR REPLACE FUNCTION is_community() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT _timescaledb_functions.tsl_loaded() AND current_setting('timescaledb.license') = 'timescale' $$;
COMMENT ON FUNCTION is_community() IS 'Whether this server runs TimescaleDB''s Community edition, with continuous aggregates and policies';
GRANT EXECUTE ON FUNCTION is_community() TO segs_ingest, segs_worker, segs_api, segs_readonly;
