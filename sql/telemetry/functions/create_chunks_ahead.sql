-- The first row of a new chunk makes every other writer wait for its commit. So the next chunk is made before it is
-- needed, in a short transaction of its own: by a row that is deleted again at once (creating one by name is Community).

CREATE OR REPLACE FUNCTION create_chunks_ahead(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    v_made integer := 0;
    v_table record;
    v_at timestamptz;
BEGIN
    FOR v_table IN
        SELECT d.hypertable_name, d.column_name, d.time_interval, row_of.columns, row_of.constants
        FROM timescaledb_information.dimensions AS d
        JOIN (VALUES ('raw_readings', 'meter_id, batch_id', '0, 0'),
                     ('aggregates_1m', 'meter_id, samples, coverage, quality', '0, 0, 0, 14'),
                     ('aggregates_15m', 'meter_id, samples, coverage, quality', '0, 0, 0, 14'),
                     ('regional_15m', 'region, meters, meters_expected, coverage, quality', ''''', 0, 0, 0, 14')
             ) AS row_of (hypertable, columns, constants) ON row_of.hypertable = d.hypertable_name
        WHERE d.hypertable_schema = 'public'
        ORDER BY d.hypertable_name
    LOOP
        v_at := p_now + v_table.time_interval;
        CONTINUE WHEN EXISTS (SELECT FROM timescaledb_information.chunks AS c
                              WHERE c.hypertable_schema = 'public' AND c.hypertable_name = v_table.hypertable_name
                                AND c.range_start <= v_at AND c.range_end > v_at);
        EXECUTE format('INSERT INTO %1$I (%2$I, %3$s) VALUES (%5$L, %4$s)',
                       v_table.hypertable_name, v_table.column_name, v_table.columns, v_table.constants, v_at);
        EXECUTE format('DELETE FROM %1$I WHERE %2$I = %3$L AND %4$s',
                       v_table.hypertable_name, v_table.column_name, v_at,
                       CASE v_table.hypertable_name WHEN 'regional_15m' THEN 'region = ''''' ELSE 'meter_id = 0' END);
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;
COMMENT ON FUNCTION create_chunks_ahead(timestamptz) IS
    'Makes the chunk after the present one of every hypertable that lacks it; returns how many were made';
GRANT EXECUTE ON FUNCTION create_chunks_ahead(timestamptz) TO segs_worker;
