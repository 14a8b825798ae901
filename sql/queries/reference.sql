-- What the schema reference shows.

-- name: relations
-- Tables and views of ours: name, kind, comment, whether it is a hypertable.
SELECT c.oid::bigint, c.relname, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,
       obj_description(c.oid, 'pg_class')
  FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
 ORDER BY c.relkind IN ('v', 'm'), c.relname;

-- name: columns
-- Columns in order: name, type, nullability, default, comment.
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       CASE WHEN a.attidentity <> '' THEN 'identity'
            WHEN a.attgenerated <> '' THEN 'generated: ' || pg_get_expr(d.adbin, d.adrelid)
            ELSE pg_get_expr(d.adbin, d.adrelid) END,
       col_description(a.attrelid, a.attnum)
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum;

-- name: constraints
-- Keys, references and checks, keys first.
SELECT o.conname, pg_get_constraintdef(o.oid)
  FROM pg_constraint o
 WHERE o.conrelid = %(relation)s AND o.contype IN ('c', 'f', 'p', 'u', 'x')
 ORDER BY array_position(ARRAY['p', 'u', 'x', 'f', 'c'], o.contype::text), o.conname;

-- name: indexes
-- Indexes that no constraint owns, with their comment.
SELECT i.relname, pg_get_indexdef(x.indexrelid), obj_description(i.oid, 'pg_class')
  FROM pg_index x
  JOIN pg_class i ON i.oid = x.indexrelid
 WHERE x.indrelid = %(relation)s
   AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = x.indexrelid AND o.contype IN ('p', 'u', 'x'))
 ORDER BY i.relname;

-- name: functions
-- Functions that somebody but the owner may execute: signature, result, comment.
SELECT p.oid::regprocedure::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
  FROM pg_proc p
 WHERE p.pronamespace = 'public'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
 ORDER BY 1;

-- name: dimensions
-- Chunk interval of a hypertable.
SELECT d.hypertable_name, d.column_name, d.time_interval::text
  FROM timescaledb_information.dimensions d
 WHERE d.hypertable_schema = 'public';
