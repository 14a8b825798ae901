-- The chain has two levels, so that a transaction waits for no other before its very end. Rows are chained within their
-- transaction as they are written, which needs no lock. The commit chains the transaction's last hash to that of a commit
-- before: one row, under a lock that is held for the rest of the commit alone, however much was changed.

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
COMMENT ON FUNCTION audit_hash(bytea, text[]) IS 'SHA-256 of the hash before and then each field: its length in bytes, a colon, itself and a comma, or a hyphen and a comma for NULL';

CREATE OR REPLACE FUNCTION seal_audit_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_block bigint;
    v_position integer;
    v_previous bytea;
    v_closed boolean;
BEGIN
    -- What a savepoint took back is not seen here and leaves no hole. A block that is linked is closed: one of an earlier
    -- cluster, whose transactions had the same numbers, or one whose constraints somebody made immediate.
    SELECT a.block, a.position, a.hash, EXISTS (SELECT FROM audit_links l WHERE l.block = a.block)
      INTO v_block, v_position, v_previous, v_closed
      FROM audit_logs a
     WHERE a.transaction_id = pg_current_xact_id()
     ORDER BY a.audit_id DESC LIMIT 1;
    IF NOT FOUND OR v_closed THEN
        v_block := NEW.audit_id;
        v_position := 0;
        v_previous := decode(repeat('00', 32), 'hex');
    END IF;
    NEW.occurred_at := clock_timestamp();
    NEW.form := 1;
    NEW.transaction_id := pg_current_xact_id();
    NEW.block := v_block;
    NEW.position := v_position + 1;
    NEW.hash := audit_hash(v_previous, NEW.form::text, NEW.audit_id::text,
        (extract(epoch FROM NEW.occurred_at) * 1000000)::bigint::text, NEW.actor, NEW.database_role, NEW.request_id, NEW.action,
        NEW.table_name, NEW.row_key, NEW.old::text, NEW.new::text, NEW.subjects::text, NEW.meters::text,
        NEW.transaction_id::text, NEW.block::text, NEW.position::text);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION seal_audit_row() IS 'Chains a row to the one that its transaction wrote before, or to 32 zero bytes';

CREATE OR REPLACE FUNCTION link_audit_block() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_at timestamptz;
    v_last record;
    v_head record;
    v_hash bytea;
BEGIN
    SELECT a.position, a.hash INTO v_last
      FROM audit_logs a
     WHERE a.transaction_id = NEW.transaction_id AND a.block = NEW.block
     ORDER BY a.audit_id DESC LIMIT 1;
    -- From here to the end of the commit. Commits that meet take lanes of their own, so that one write to the disk can
    -- serve all of them; only when every lane is taken does one wait.
    SELECT h.lane, h.link_id + 1 AS link_id, h.hash INTO v_head FROM audit_heads h ORDER BY h.lane LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        SELECT h.lane, h.link_id + 1 AS link_id, h.hash INTO STRICT v_head FROM audit_heads h
         WHERE h.lane = 1 + pg_backend_pid() % (SELECT count(*) FROM audit_heads) FOR UPDATE;
    END IF;
    v_at := clock_timestamp();
    v_hash := audit_hash(v_head.hash, v_head.lane::text, v_head.link_id::text, (extract(epoch FROM v_at) * 1000000)::bigint::text,
        NEW.block::text, NEW.transaction_id::text, v_last.position::text, encode(v_last.hash, 'hex'));
    INSERT INTO audit_links (lane, link_id, linked_at, block, transaction_id, rows, rows_digest, previous_digest, hash)
    VALUES (v_head.lane, v_head.link_id, v_at, NEW.block, NEW.transaction_id, v_last.position, v_last.hash, v_head.hash, v_hash);
    UPDATE audit_heads SET link_id = v_head.link_id, hash = v_hash WHERE lane = v_head.lane;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION link_audit_block() IS 'At the commit: chains what the transaction logged to what a commit before it did';
