-- Who changed what, and who looked at what of others. Written by audit_change() and audit_access() alone; nobody is granted
-- more than to read it. segs-cloud audit verify recomputes the hashes, outside of the database.

CREATE TABLE IF NOT EXISTS audit_logs (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (actor <> ''),
    database_role text NOT NULL,
    request_id text,
    action text NOT NULL,
    table_name text NOT NULL,
    row_key text NOT NULL,
    old jsonb,
    new jsonb,
    subjects integer[],
    meters integer[],
    form smallint NOT NULL CHECK (form = 1),
    transaction_id xid8 NOT NULL,
    block bigint NOT NULL,
    position integer NOT NULL CHECK (position > 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    CONSTRAINT audit_logs_action_is_known CHECK (action IN ('INSERT', 'UPDATE', 'DELETE', 'READ')),
    CONSTRAINT audit_logs_old_goes_with_action CHECK ((action IN ('INSERT', 'READ')) = (old IS NULL)),
    CONSTRAINT audit_logs_new_goes_with_action CHECK ((action = 'DELETE') = (new IS NULL)),
    CONSTRAINT audit_logs_subjects_are_of_reads CHECK (action = 'READ' OR subjects IS NULL AND meters IS NULL)
);
CREATE INDEX IF NOT EXISTS audit_logs_row_idx ON audit_logs (table_name, row_key, audit_id);
CREATE INDEX IF NOT EXISTS audit_logs_actor_idx ON audit_logs (actor, audit_id);
CREATE INDEX IF NOT EXISTS audit_logs_request_idx ON audit_logs (request_id, audit_id) WHERE request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_logs_transaction_idx ON audit_logs (transaction_id, audit_id);
CREATE INDEX IF NOT EXISTS audit_logs_occurred_at_idx ON audit_logs USING brin (occurred_at) WITH (pages_per_range = 32);
CREATE INDEX IF NOT EXISTS audit_logs_subjects_idx ON audit_logs USING gin (subjects) WHERE action = 'READ';
CREATE INDEX IF NOT EXISTS audit_logs_meters_idx ON audit_logs USING gin (meters) WHERE action = 'READ';
COMMENT ON TABLE audit_logs IS 'Append-only: one row for every row that was inserted, updated or deleted in an audited table, and for every look at somebody else''s data';
COMMENT ON COLUMN audit_logs.audit_id IS 'Order of the changes';
COMMENT ON COLUMN audit_logs.occurred_at IS 'When the row changed, or was looked at';
COMMENT ON COLUMN audit_logs.actor IS 'Who did it: the session''s segs.actor (user:17), else role: and the database role';
COMMENT ON COLUMN audit_logs.database_role IS 'Role that the session logged in as';
COMMENT ON COLUMN audit_logs.request_id IS 'The session''s segs.request_id, NULL outside a request';
COMMENT ON COLUMN audit_logs.action IS 'INSERT, UPDATE or DELETE; READ for a look at somebody else''s data';
COMMENT ON COLUMN audit_logs.table_name IS 'Table of the row; for a READ what was looked at, as the API names it';
COMMENT ON COLUMN audit_logs.row_key IS 'Primary key of the row, as text; for a READ the code of the one meter or number of the one user, * where there is not one';
COMMENT ON COLUMN audit_logs.old IS 'The row before, secrets withheld, {"digest": …} of audit_personal for what is personal; NULL for an INSERT or READ';
COMMENT ON COLUMN audit_logs.new IS 'The row after, likewise; NULL for a DELETE; for a READ what was asked for';
COMMENT ON COLUMN audit_logs.subjects IS 'Of a READ: users whose data it was, NULL where that was not known beforehand';
COMMENT ON COLUMN audit_logs.meters IS 'Of a READ: meters whose data it was, NULL where that was not known beforehand';
COMMENT ON COLUMN audit_logs.form IS 'Which fields the hash covers, in which form: 1';
COMMENT ON COLUMN audit_logs.transaction_id IS 'Transaction that wrote the row; 0 for rows from before there was a chain';
COMMENT ON COLUMN audit_logs.block IS 'audit_id of the first row that the same transaction wrote; key of audit_links';
COMMENT ON COLUMN audit_logs.position IS 'Which of the block''s rows this is, from 1';
COMMENT ON COLUMN audit_logs.hash IS 'SHA-256 of the hash of the block''s row before, 32 zero bytes for the first, and of this row, as audit_hash() packs it';
COMMENT ON INDEX audit_logs_row_idx IS 'History of one row';
COMMENT ON INDEX audit_logs_actor_idx IS 'Deeds of one actor';
COMMENT ON INDEX audit_logs_request_idx IS 'What one request did';
COMMENT ON INDEX audit_logs_transaction_idx IS 'What a transaction has logged so far';
COMMENT ON INDEX audit_logs_occurred_at_idx IS 'What happened in a span';
COMMENT ON INDEX audit_logs_subjects_idx IS 'Who looked at a user''s data';
COMMENT ON INDEX audit_logs_meters_idx IS 'Who looked at a meter''s data';
CREATE OR REPLACE TRIGGER audit_logs_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE OR REPLACE TRIGGER audit_logs_seal BEFORE INSERT ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION seal_audit_row();
GRANT SELECT ON audit_logs TO segs_api, segs_readonly;

-- The log is for ever, names and addresses are not: rows have their digests, which prove the values as long as these are here.
CREATE TABLE IF NOT EXISTS audit_personal (
    user_id integer NOT NULL,
    value text NOT NULL,
    salt bytea NOT NULL CHECK (length(salt) = 16),
    digest text NOT NULL UNIQUE,
    PRIMARY KEY (user_id, value),
    CONSTRAINT audit_personal_digest_is_of_value CHECK (digest = encode(sha256(salt || convert_to(value, 'UTF8')), 'hex'))
);
COMMENT ON TABLE audit_personal IS 'Names, addresses, numbers and regions of users that the log speaks of; they are deleted when the user leaves';
COMMENT ON COLUMN audit_personal.user_id IS 'Whose they are; no reference, since a log outlives what it is of';
COMMENT ON COLUMN audit_personal.value IS 'The value, as text';
COMMENT ON COLUMN audit_personal.salt IS '122 random bits';
COMMENT ON COLUMN audit_personal.digest IS 'SHA-256 of salt and value; in audit_logs.old and new it stands in the place of the value';
CREATE OR REPLACE TRIGGER audit_personal_immutable BEFORE UPDATE OR TRUNCATE ON audit_personal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE OR REPLACE TRIGGER audit_personal_stays BEFORE DELETE ON audit_personal
    FOR EACH ROW EXECUTE FUNCTION refuse_early_erasure();
GRANT SELECT ON audit_personal TO segs_api, segs_readonly;

CREATE TABLE IF NOT EXISTS audit_heads (
    lane smallint PRIMARY KEY CHECK (lane > 0),
    link_id bigint NOT NULL CHECK (link_id >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 10);
INSERT INTO audit_heads (lane, link_id, hash)
SELECT n, 0, decode(repeat('00', 32), 'hex') FROM generate_series(1, 8) AS n
ON CONFLICT (lane) DO NOTHING;
COMMENT ON TABLE audit_heads IS 'Ends of the lanes of the chain; a commit holds the row of its lane for its last moment, and takes a lane that no other holds';
COMMENT ON COLUMN audit_heads.lane IS 'Lane, from 1';
COMMENT ON COLUMN audit_heads.link_id IS 'Newest link of the lane, 0 before there is one';
COMMENT ON COLUMN audit_heads.hash IS 'Its hash, 32 zero bytes before there is one';
GRANT SELECT ON audit_heads TO segs_readonly;

CREATE TABLE IF NOT EXISTS audit_links (
    lane smallint NOT NULL,
    link_id bigint NOT NULL CHECK (link_id > 0),
    linked_at timestamptz NOT NULL,
    block bigint NOT NULL UNIQUE,
    transaction_id xid8 NOT NULL,
    rows integer NOT NULL CHECK (rows > 0),
    rows_digest bytea NOT NULL CHECK (length(rows_digest) = 32),
    previous_digest bytea NOT NULL CHECK (length(previous_digest) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (lane, link_id)
);
COMMENT ON TABLE audit_links IS 'Append-only: one row for each transaction that logged anything, in the order of the commits of its lane';
COMMENT ON COLUMN audit_links.lane IS 'audit_heads.lane';
COMMENT ON COLUMN audit_links.link_id IS 'Number in the lane, from 1, without gaps';
COMMENT ON COLUMN audit_links.linked_at IS 'When the transaction came to its end';
COMMENT ON COLUMN audit_links.block IS 'audit_logs.block of its rows';
COMMENT ON COLUMN audit_links.transaction_id IS 'audit_logs.transaction_id of its rows';
COMMENT ON COLUMN audit_links.rows IS 'How many rows';
COMMENT ON COLUMN audit_links.rows_digest IS 'audit_logs.hash of the last of them';
COMMENT ON COLUMN audit_links.previous_digest IS 'hash of the lane''s link before; 32 zero bytes for the first';
COMMENT ON COLUMN audit_links.hash IS 'SHA-256 of previous_digest and of this row, as audit_hash() packs it';
CREATE OR REPLACE TRIGGER audit_links_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_links
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
GRANT SELECT ON audit_links TO segs_readonly;
-- A constraint trigger cannot be replaced, nor dropped while the same transaction has logged something.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'audit_logs'::regclass AND tgname = 'audit_logs_link') THEN
        CREATE CONSTRAINT TRIGGER audit_logs_link AFTER INSERT ON audit_logs DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.position = 1) EXECUTE FUNCTION link_audit_block();
    END IF;
END
$$;
