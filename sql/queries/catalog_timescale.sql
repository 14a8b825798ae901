-- What TimescaleDB adds to the catalog, in both editions: object, part of it, definition. Numbers that it gives its own
-- tables differ from database to database and are left out.

-- name: dimensions
-- Hypertables and the length of their chunks.
SELECT 'table ' || d.hypertable_name, 'hypertable dimension ' || d.column_name,
       concat_ws(' ', d.dimension_type, coalesce(d.time_interval::text, d.integer_interval::text), d.num_partitions::text)
  FROM timescaledb_information.dimensions d
 WHERE d.hypertable_schema = 'public';

-- name: compression
-- How hypertables are compressed.
SELECT 'table ' || h.hypertable_name, 'compression',
       concat_ws(' ', 'segmented by', (SELECT string_agg(s.attname, ', ' ORDER BY s.segmentby_column_index)
                                         FROM timescaledb_information.compression_settings s
                                        WHERE s.hypertable_schema = 'public' AND s.hypertable_name = h.hypertable_name
                                          AND s.segmentby_column_index IS NOT NULL),
                 'ordered by', (SELECT string_agg(s.attname || CASE WHEN s.orderby_asc THEN '' ELSE ' DESC' END, ', ' ORDER BY s.orderby_column_index)
                                  FROM timescaledb_information.compression_settings s
                                 WHERE s.hypertable_schema = 'public' AND s.hypertable_name = h.hypertable_name
                                   AND s.orderby_column_index IS NOT NULL))
  FROM timescaledb_information.hypertables h
 WHERE h.hypertable_schema = 'public' AND h.compression_enabled;

-- name: continuous_aggregates
-- Continuous aggregates in the words of their author.
SELECT 'view ' || c.view_name, 'continuous aggregate',
       concat_ws(' ', CASE WHEN c.materialized_only THEN 'materialised only:' ELSE 'with the latest data:' END, c.view_definition)
  FROM timescaledb_information.continuous_aggregates c
 WHERE c.view_schema = 'public';

-- name: jobs
-- Policies and jobs of ours, with their configuration.
SELECT coalesce('view ' || c.view_name, 'table ' || j.hypertable_name, 'job ' || j.proc_name), 'policy ' || j.proc_name,
       concat_ws(' ', 'every', j.schedule_interval::text, CASE WHEN NOT j.scheduled THEN '(off)' END,
                 (j.config - 'hypertable_id' - 'mat_hypertable_id')::text)
  FROM timescaledb_information.jobs j
  LEFT JOIN timescaledb_information.continuous_aggregates c
    ON c.materialization_hypertable_schema = j.hypertable_schema AND c.materialization_hypertable_name = j.hypertable_name
 WHERE coalesce(c.view_schema, j.hypertable_schema) = 'public' OR j.proc_schema = 'public';
