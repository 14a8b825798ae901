-- An answer is kept by the transaction that did what was asked: either both are there or neither.

CREATE OR REPLACE FUNCTION idempotency_begin(
    p_key_hash bytea, p_request_hash bytea, p_now timestamptz, OUT outcome text, OUT sealed_secret bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_caller CONSTANT text := coalesce('user:' || caller_id(), 'nobody');
    v_found idempotency_keys;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('segs.idempotency ' || v_caller || ' ' || encode(p_key_hash, 'hex'), 0)) THEN
        outcome := 'under_way';
        RETURN;
    END IF;
    SELECT k.* INTO v_found FROM idempotency_keys k WHERE k.caller = v_caller AND k.key_hash = p_key_hash;
    IF NOT FOUND OR v_found.expires_at <= p_now THEN
        outcome := 'new';
    ELSIF v_found.request_hash <> p_request_hash THEN
        outcome := 'other';
    ELSE
        outcome := 'answered';
        sealed_secret := v_found.sealed_secret;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotency_begin(bytea, bytea, timestamptz) IS 'Whether the caller''s request of this key is new; under_way in another transaction; answered, and how; or other, when the key came with another request before. Until this transaction ends, whoever comes with the same key is told that it is under way';
GRANT EXECUTE ON FUNCTION idempotency_begin(bytea, bytea, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION idempotency_keep(
    p_key_hash bytea, p_request_hash bytea, p_sealed_secret bytea, p_lifetime interval, p_now timestamptz)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM idempotency_keys
     WHERE (caller, key_hash) IN (SELECT k.caller, k.key_hash FROM idempotency_keys k
                                   WHERE k.expires_at <= p_now ORDER BY k.expires_at LIMIT 20 FOR UPDATE SKIP LOCKED);
    INSERT INTO idempotency_keys (caller, key_hash, request_hash, sealed_secret, created_at, expires_at)
    VALUES (coalesce('user:' || caller_id(), 'nobody'), p_key_hash, p_request_hash, p_sealed_secret, p_now, p_now + p_lifetime)
    ON CONFLICT (caller, key_hash) DO UPDATE
       SET request_hash = excluded.request_hash, sealed_secret = excluded.sealed_secret, created_at = excluded.created_at,
           expires_at = excluded.expires_at;
$$;
COMMENT ON FUNCTION idempotency_keep(bytea, bytea, bytea, interval, timestamptz) IS 'Keeps the answer to the caller''s request of this key, in the transaction that idempotency_begin said new in; a few that are too old go';
GRANT EXECUTE ON FUNCTION idempotency_keep(bytea, bytea, bytea, interval, timestamptz) TO segs_api;
