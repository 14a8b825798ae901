-- Which schema a database is at, by its own word.

-- name: present
-- Whether there is a schema_version table.
SELECT to_regclass('public.schema_version') IS NOT NULL;

-- name: newest
-- What the database is at: master, version, and the checksum of what the tool applied.
SELECT master, version, checksum FROM public.schema_version ORDER BY version DESC LIMIT 1;

-- name: guards_chunks
-- Whether this is a telemetry database that knows when its server cannot read it.
SELECT to_regprocedure('public.require_readable_chunks()') IS NOT NULL;

-- name: require_readable_chunks
-- Fails where chunks are compressed and the server has the Apache edition.
SELECT public.require_readable_chunks();

-- name: lock
-- One apply at a time, by the same lock as the masters take.
SELECT pg_advisory_xact_lock(hashtextextended('segs.schema', 0));

-- name: record_step
-- A migration has run.
INSERT INTO public.schema_version (version, master) VALUES (%(version)s, %(master)s);

-- name: record_checksum
-- The whole master has run, as this release has it.
UPDATE public.schema_version SET checksum = %(checksum)s WHERE version = %(version)s;
