-- Community: chunks that hardly anything is written to any more are compressed, a meter's rows together and in the order of
-- time, as every query wants them. The unique indexes stay. Later rows find their way in: they stand beside what is compressed
-- until the job's next run. Apache has no compression. Settings and jobs are made anew, so that an edit reaches them.
--   raw_readings    after 3 days: a gateway that was offline for a weekend still meets plain chunks
--   aggregates_*    after 8 days: readings are accepted for 7, and change intervals for as long; then only edits come

DO $$
DECLARE
    v_table record;
BEGIN
    IF is_community() THEN
        FOR v_table IN
            SELECT * FROM (VALUES ('raw_readings', 'time', INTERVAL '3 days'),
                                  ('aggregates_1m', 'bucket', INTERVAL '8 days'),
                                  ('aggregates_15m', 'bucket', INTERVAL '8 days')) AS t (hypertable, time_column, after)
        LOOP
            PERFORM remove_compression_policy(v_table.hypertable::regclass, if_exists => true);
            EXECUTE format('ALTER TABLE %I SET (timescaledb.compress, timescaledb.compress_segmentby = ''meter_id'','
                           ' timescaledb.compress_orderby = %L)', v_table.hypertable, v_table.time_column);
            PERFORM add_compression_policy(v_table.hypertable::regclass, compress_after => v_table.after,
                                           schedule_interval => INTERVAL '6 hours');
        END LOOP;
    END IF;
END
$$;
