-- First part of both masters: one apply at a time, and none onto a database that this master does not fit. The masters
-- say CREATE ... IF NOT EXISTS, which never reaches a table that is there: a database of another version is changed by
-- the migrations and by nothing else.
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;

DO $$
DECLARE
    v_master CONSTANT text := current_setting('segs.master');
    v_version CONSTANT integer := current_setting('segs.master_version');
    v_found record;
    v_table text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.schema', 0));
    IF to_regclass('public.schema_version') IS NULL THEN
        SELECT c.relname INTO v_table
          FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         ORDER BY c.relname
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'database % has tables (% for one) but no schema_version: it is not a SEGS database',
                current_database(), v_table
                USING ERRCODE = 'SG001', HINT = 'Name an empty database.';
        END IF;
        RETURN;
    END IF;
    SELECT version, master INTO v_found FROM public.schema_version ORDER BY version DESC LIMIT 1;
    IF v_found.master <> v_master THEN
        RAISE EXCEPTION 'database % holds the % schema, this is the % master',
            current_database(), v_found.master, v_master
            USING ERRCODE = 'SG001', HINT = 'SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN name two databases; are they swapped?';
    ELSIF v_found.version < v_version THEN
        RAISE EXCEPTION 'database % is at % schema version %, this master is version %',
            current_database(), v_master, v_found.version, v_version
            USING ERRCODE = 'SG001', HINT = 'Run segs-cloud schema apply: it brings the migrations in between.';
    ELSIF v_found.version > v_version THEN
        RAISE EXCEPTION 'database % is at % schema version %, newer than this master''s %',
            current_database(), v_master, v_found.version, v_version
            USING ERRCODE = 'SG001', HINT = 'Use the SEGS release that the database was upgraded with, or a later one.';
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY CHECK (version >= 1),
    master text NOT NULL CHECK (master IN ('domain', 'telemetry')),
    checksum text CHECK (checksum ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT current_user
);
COMMENT ON TABLE schema_version IS 'Every schema version this database has been at; the highest is the one it is at';
COMMENT ON COLUMN schema_version.version IS 'Number of the last migration in it, from 1';
COMMENT ON COLUMN schema_version.master IS 'Which of the two masters: domain or telemetry';
COMMENT ON COLUMN schema_version.checksum IS 'SHA-256 (hex) of the master that segs-cloud schema apply ran; NULL while only psql has run it, and for versions passed through';
COMMENT ON COLUMN schema_version.applied_at IS 'When the database came to this version';
COMMENT ON COLUMN schema_version.applied_by IS 'Database role that applied it';

-- The checksum is for segs-cloud schema apply to set: what psql ran, nobody has compared.
INSERT INTO schema_version (version, master)
VALUES (current_setting('segs.master_version')::integer, current_setting('segs.master'))
ON CONFLICT (version) DO UPDATE SET checksum = NULL;
