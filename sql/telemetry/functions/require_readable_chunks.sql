-- An Apache edition server answers queries on compressed chunks with the rows beside what is compressed, and without a word:
-- whoever computes from that overwrites what is right. Called here, so that the master is refused too, under plain psql as well.

CREATE OR REPLACE FUNCTION require_readable_chunks() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    v_found text;
BEGIN
    IF is_community() THEN
        RETURN;
    END IF;
    SELECT string_agg(format('%s of %s', c.chunks, c.table_name), ', ' ORDER BY c.table_name) INTO v_found
    FROM (SELECT h.table_name, count(*) AS chunks
          FROM _timescaledb_catalog.chunk AS k JOIN _timescaledb_catalog.hypertable AS h ON h.id = k.hypertable_id
          WHERE k.compressed_chunk_id IS NOT NULL AND NOT k.dropped
          GROUP BY h.table_name) AS c;
    IF v_found IS NOT NULL THEN
        RAISE EXCEPTION 'the telemetry database has compressed chunks (%), and on this server, which has TimescaleDB''s Apache edition, their rows are missing from every answer', v_found
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Start it with the Community edition; docs/operations.md, "From one edition to the other", has the way to Apache.';
    END IF;
END
$$;
COMMENT ON FUNCTION require_readable_chunks() IS 'Raises 55000 where chunks are compressed and this server cannot read them';
GRANT EXECUTE ON FUNCTION require_readable_chunks() TO segs_ingest, segs_worker, segs_api, segs_readonly;
DO $$ BEGIN PERFORM require_readable_chunks(); END $$;
