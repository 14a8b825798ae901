-- The audit log is chained by hashes, and knows who looked at what. What it has so far is chained as it is now: whatever was
-- done to it before, nobody can tell.

CREATE OR REPLACE FUNCTION audit_hash(p_previous bytea, VARIADIC p_fields text[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
DECLARE
    v_field text;
    v_packed text := '';
BEGIN
    -- Each field with its length, so that no two lists of fields look alike.
    FOREACH v_field IN ARRAY p_fields LOOP
        v_packed := v_packed || coalesce(octet_length(v_field) || ':' || v_field, '-') || ',';
    END LOOP;
    RETURN sha256(p_previous || convert_to(v_packed, 'UTF8'));
END
$$;

ALTER TABLE audit_logs DISABLE TRIGGER audit_logs_immutable;
ALTER TABLE audit_logs
    ADD COLUMN subjects integer[],
    ADD COLUMN meters integer[],
    ADD COLUMN form smallint,
    ADD COLUMN transaction_id xid8,
    ADD COLUMN block bigint,
    ADD COLUMN position integer,
    ADD COLUMN hash bytea,
    DROP CONSTRAINT audit_logs_action_check,
    DROP CONSTRAINT audit_logs_check,
    DROP CONSTRAINT audit_logs_check1,
    ADD CONSTRAINT audit_logs_action_is_known CHECK (action IN ('INSERT', 'UPDATE', 'DELETE', 'READ')),
    ADD CONSTRAINT audit_logs_old_goes_with_action CHECK ((action IN ('INSERT', 'READ')) = (old IS NULL)),
    ADD CONSTRAINT audit_logs_new_goes_with_action CHECK ((action = 'DELETE') = (new IS NULL)),
    ADD CONSTRAINT audit_logs_subjects_are_of_reads CHECK (action = 'READ' OR subjects IS NULL AND meters IS NULL);

CREATE TABLE audit_heads (
    lane smallint PRIMARY KEY CHECK (lane > 0),
    link_id bigint NOT NULL CHECK (link_id >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 10);
INSERT INTO audit_heads (lane, link_id, hash) SELECT n, 0, decode(repeat('00', 32), 'hex') FROM generate_series(1, 8) AS n;

CREATE TABLE audit_links (
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

DO $$
DECLARE
    v_row record;
    v_block bigint;
    v_position integer := 0;
    v_hash bytea;
    v_link bigint := 0;
    v_link_hash bytea := decode(repeat('00', 32), 'hex');
    v_previous bytea;
    v_at timestamptz;
    v_last bigint := (SELECT max(audit_id) FROM audit_logs);
BEGIN
    FOR v_row IN SELECT * FROM audit_logs ORDER BY audit_id LOOP
        IF v_position = 0 THEN
            v_block := v_row.audit_id;
            v_hash := decode(repeat('00', 32), 'hex');
        END IF;
        v_position := v_position + 1;
        v_hash := audit_hash(v_hash, '1', v_row.audit_id::text, (extract(epoch FROM v_row.occurred_at) * 1000000)::bigint::text,
            v_row.actor, v_row.database_role, v_row.request_id, v_row.action, v_row.table_name, v_row.row_key, v_row.old::text,
            v_row.new::text, NULL, NULL, '0', v_block::text, v_position::text);
        UPDATE audit_logs SET form = 1, transaction_id = '0', block = v_block, position = v_position, hash = v_hash
         WHERE audit_id = v_row.audit_id;
        -- Pieces of a size at which a fault in them is found soon.
        IF v_position = 1000 OR v_row.audit_id = v_last THEN
            v_link := v_link + 1;
            v_previous := v_link_hash;
            v_at := clock_timestamp();
            v_link_hash := audit_hash(v_previous, '1', v_link::text, (extract(epoch FROM v_at) * 1000000)::bigint::text,
                v_block::text, '0', v_position::text, encode(v_hash, 'hex'));
            INSERT INTO audit_links (lane, link_id, linked_at, block, transaction_id, rows, rows_digest, previous_digest, hash)
            VALUES (1, v_link, v_at, v_block, '0', v_position, v_hash, v_previous, v_link_hash);
            v_position := 0;
        END IF;
    END LOOP;
    UPDATE audit_heads SET link_id = v_link, hash = v_link_hash WHERE lane = 1;
END
$$;

ALTER TABLE audit_logs
    ALTER COLUMN form SET NOT NULL,
    ADD CONSTRAINT audit_logs_form_check CHECK (form = 1),
    ALTER COLUMN transaction_id SET NOT NULL,
    ALTER COLUMN block SET NOT NULL,
    ALTER COLUMN position SET NOT NULL,
    ADD CONSTRAINT audit_logs_position_check CHECK (position > 0),
    ALTER COLUMN hash SET NOT NULL,
    ADD CONSTRAINT audit_logs_hash_check CHECK (length(hash) = 32);
ALTER TABLE audit_logs ENABLE TRIGGER audit_logs_immutable;
CREATE INDEX audit_logs_request_idx ON audit_logs (request_id, audit_id) WHERE request_id IS NOT NULL;
CREATE INDEX audit_logs_transaction_idx ON audit_logs (transaction_id, audit_id);
CREATE INDEX audit_logs_occurred_at_idx ON audit_logs USING brin (occurred_at) WITH (pages_per_range = 32);
CREATE INDEX audit_logs_subjects_idx ON audit_logs USING gin (subjects) WHERE action = 'READ';
CREATE INDEX audit_logs_meters_idx ON audit_logs USING gin (meters) WHERE action = 'READ';
