-- Late readings that fall between compressed ones: TimescaleDB would unpack a thousand rows to check a single one, for each of
-- them. Opening the batches first, each once, costs a seventh of that. They are open until the compression job's next run.
-- An UPDATE that finds no row opens what its constants do not exclude, once the filter that looks for rows first is off.

CREATE OR REPLACE FUNCTION decompress_readings(p_meters integer[], p_first timestamptz[], p_last timestamptz[]) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timescaledb.enable_dml_decompression_tuple_filtering = off
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0
AS $$
DECLARE
    v_late record;
BEGIN
    IF NOT is_community() THEN
        RETURN;
    END IF;
    FOR v_late IN
        SELECT array_agg(DISTINCT s.meter_id) AS meters, greatest(min(s.first), c.range_start) AS first,
               least(max(s.last), c.range_end - INTERVAL '1 microsecond') AS last
        FROM timescaledb_information.chunks AS c
        JOIN unnest(p_meters, p_first, p_last) AS s (meter_id, first, last) ON s.first < c.range_end AND s.last >= c.range_start
        WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'raw_readings' AND c.is_compressed
        GROUP BY c.range_start, c.range_end
        ORDER BY c.range_start
    LOOP
        EXECUTE format('UPDATE raw_readings SET power_w = power_w WHERE meter_id = ANY (%L::integer[])'
                       ' AND time >= %L::timestamptz AND time <= %L::timestamptz AND batch_id < 0',
                       v_late.meters, v_late.first, v_late.last);
    END LOOP;
END
$$;
COMMENT ON FUNCTION decompress_readings(integer[], timestamptz[], timestamptz[]) IS
    'Opens what is compressed of the meters'' readings in the given spans, ends included, so that rows can be written there at a plain chunk''s cost; nothing on Apache, nothing where nothing is compressed';
GRANT EXECUTE ON FUNCTION decompress_readings(integer[], timestamptz[], timestamptz[]) TO segs_ingest, segs_worker;
