-- What a database holds, for people.

-- name: server
-- Version of the server and of TimescaleDB, NULL without it.
SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb');

-- name: timescale
-- Edition, hypertables, chunks.
SELECT CASE WHEN _timescaledb_functions.tsl_loaded() AND current_setting('timescaledb.license') = 'timescale'
            THEN 'community' ELSE 'apache' END,
       (SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public'),
       (SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = 'public');

-- name: counts
-- Tables, views and functions of ours in schema public, and the size of the database in bytes.
SELECT count(*) FILTER (WHERE kind = 'r'), count(*) FILTER (WHERE kind = 'v'), count(*) FILTER (WHERE kind = 'f'),
       pg_database_size(current_database())
  FROM (SELECT CASE WHEN relkind IN ('r', 'p') THEN 'r' ELSE 'v' END AS kind, 'pg_class'::regclass AS classid, oid
          FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        UNION ALL
        SELECT 'f', 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace) AS o
 WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = o.classid AND e.objid = o.oid AND e.deptype = 'e');
