-- Who changed what. Written by audit_change() alone; nobody is granted more than to read it.

CREATE TABLE IF NOT EXISTS audit_logs (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (actor <> ''),
    database_role text NOT NULL,
    request_id text,
    action text NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
    table_name text NOT NULL,
    row_key text NOT NULL,
    old jsonb CHECK ((action = 'INSERT') = (old IS NULL)),
    new jsonb CHECK ((action = 'DELETE') = (new IS NULL))
);
CREATE INDEX IF NOT EXISTS audit_logs_row_idx ON audit_logs (table_name, row_key, audit_id);
CREATE INDEX IF NOT EXISTS audit_logs_actor_idx ON audit_logs (actor, audit_id);
COMMENT ON TABLE audit_logs IS 'Append-only: one row for every row that was inserted, updated or deleted in an audited table';
COMMENT ON COLUMN audit_logs.audit_id IS 'Order of the changes';
COMMENT ON COLUMN audit_logs.occurred_at IS 'When the row changed';
COMMENT ON COLUMN audit_logs.actor IS 'Who did it: the session''s segs.actor (user:17), else role: and the database role';
COMMENT ON COLUMN audit_logs.database_role IS 'Role that the session logged in as';
COMMENT ON COLUMN audit_logs.request_id IS 'The session''s segs.request_id, NULL outside a request';
COMMENT ON COLUMN audit_logs.action IS 'INSERT, UPDATE or DELETE';
COMMENT ON COLUMN audit_logs.table_name IS 'Table of the row';
COMMENT ON COLUMN audit_logs.row_key IS 'Primary key of the row, as text';
COMMENT ON COLUMN audit_logs.old IS 'The row before, secrets withheld; NULL for an INSERT';
COMMENT ON COLUMN audit_logs.new IS 'The row after, secrets withheld; NULL for a DELETE';
COMMENT ON INDEX audit_logs_row_idx IS 'History of one row';
COMMENT ON INDEX audit_logs_actor_idx IS 'Deeds of one actor';
CREATE OR REPLACE TRIGGER audit_logs_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
GRANT SELECT ON audit_logs TO segs_api, segs_readonly;
