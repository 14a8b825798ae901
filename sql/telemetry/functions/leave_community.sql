-- Undoes what an Apache edition server could neither read nor take away: run by the owner, with services stopped, while the
-- server still has the Community edition. All or nothing; needs the disk space of what it decompresses.

CREATE OR REPLACE FUNCTION leave_community() RETURNS integer
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    v_table text;
    v_chunk regclass;
    v_opened integer := 0;
BEGIN
    FOR v_table IN
        SELECT h.hypertable_name FROM timescaledb_information.hypertables AS h
        WHERE h.hypertable_schema = 'public' ORDER BY h.hypertable_name
    LOOP
        PERFORM remove_retention_policy(v_table::regclass, if_exists => true);
        CONTINUE WHEN NOT (SELECT h.compression_enabled FROM timescaledb_information.hypertables AS h
                           WHERE h.hypertable_schema = 'public' AND h.hypertable_name = v_table);
        PERFORM remove_compression_policy(v_table::regclass, if_exists => true);
        FOR v_chunk IN
            SELECT format('%I.%I', c.chunk_schema, c.chunk_name)::regclass FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public' AND c.hypertable_name = v_table AND c.is_compressed ORDER BY c.range_start
        LOOP
            PERFORM decompress_chunk(v_chunk);
            v_opened := v_opened + 1;
        END LOOP;
        EXECUTE format('ALTER TABLE %I SET (timescaledb.compress = false)', v_table);
    END LOOP;
    DROP MATERIALIZED VIEW IF EXISTS cagg_1m;
    RETURN v_opened;
END
$$;
COMMENT ON FUNCTION leave_community() IS
    'Makes the database one that an Apache edition server can take over, and returns how many chunks it decompressed; segs-cloud schema apply --again is next, on either edition';
