-- A meter comes to a customer by a code that its operator gave them, and by nothing that they could have guessed.

CREATE OR REPLACE FUNCTION meter_claim_withdraw(p_meter_code text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id CONSTANT integer := kept_meter(p_meter_code);
    v_count integer;
BEGIN
    PERFORM FROM meters m WHERE m.meter_id = v_meter_id FOR NO KEY UPDATE;
    UPDATE meter_claims c SET revoked_at = greatest(p_now, c.created_at)
     WHERE c.meter_id = v_meter_id AND c.used_at IS NULL AND c.revoked_at IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION meter_claim_withdraw(text, timestamptz) IS 'The meter''s open code is good for nothing any more; how many there were. Raises SG022 no such meter, SG070 not theirs';
GRANT EXECUTE ON FUNCTION meter_claim_withdraw(text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION meter_claim_issue(
    p_meter_code text, p_code_hash bytea, p_lifetime interval, p_now timestamptz, OUT claim_id bigint, OUT expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_meter_id CONSTANT integer := kept_meter(p_meter_code);
BEGIN
    PERFORM meter_claim_withdraw(p_meter_code, p_now);
    INSERT INTO meter_claims AS c (meter_id, code_hash, issued_by, created_at, expires_at)
    VALUES (v_meter_id, p_code_hash, caller_id(), p_now, p_now + p_lifetime)
    RETURNING c.meter_claim_id, c.expires_at INTO claim_id, expires_at;
END
$$;
COMMENT ON FUNCTION meter_claim_issue(text, bytea, interval, timestamptz) IS 'A code, by its SHA-256, with which one customer may take the meter once, in the place of the one before; raises SG022 no such meter, SG070 not theirs';
GRANT EXECUTE ON FUNCTION meter_claim_issue(text, bytea, interval, timestamptz) TO segs_api;

-- Whoever gives a wrong code gets an answer and no error: an error would take the count of it back.
CREATE OR REPLACE FUNCTION meter_claim_use(
    p_code_hash bytea, p_now timestamptz, OUT outcome text, OUT meter_code text, OUT retry_after_s integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_claim meter_claims;
    v_owner integer;
BEGIN
    IF caller_role() IS DISTINCT FROM 'USER' THEN
        RAISE EXCEPTION 'a meter is claimed by a customer' USING ERRCODE = 'SG070';
    END IF;
    SELECT t.retry_after_s INTO retry_after_s FROM take_token('claim:user:' || caller_id(), 5, 5.0 / 3600, p_now) AS t;
    IF retry_after_s > 0 THEN
        outcome := 'limited';
        RETURN;
    END IF;
    outcome := 'wrong';
    SELECT c.* INTO v_claim FROM meter_claims c WHERE c.code_hash = p_code_hash;
    SELECT m.meter_code INTO meter_code FROM meters m WHERE m.meter_id = v_claim.meter_id FOR NO KEY UPDATE;
    SELECT c.* INTO v_claim FROM meter_claims c
     WHERE c.code_hash = p_code_hash AND c.used_at IS NULL AND c.revoked_at IS NULL AND c.expires_at > p_now;
    IF NOT FOUND THEN
        meter_code := NULL;
        RETURN;
    END IF;
    SELECT o.user_id INTO v_owner FROM meter_owners o WHERE o.meter_id = v_claim.meter_id AND upper(o.valid) > p_now
     ORDER BY o.valid LIMIT 1;
    IF FOUND THEN
        outcome := CASE WHEN v_owner = caller_id() THEN 'own' ELSE 'taken' END;
        RETURN;
    END IF;
    PERFORM meter_give(meter_code, caller_id(), p_now, p_now);
    UPDATE meter_claims c SET used_at = greatest(p_now, c.created_at), used_by = caller_id() WHERE c.meter_claim_id = v_claim.meter_claim_id;
    outcome := 'right';
END
$$;
COMMENT ON FUNCTION meter_claim_use(bytea, timestamptz) IS 'A customer takes a meter by its code: right, and it is theirs from p_now on; wrong, also for one that is used up, revoked or too old; own; taken while it is somebody else''s; limited after 5 attempts within an hour. Raises SG070 for who is no customer';
GRANT EXECUTE ON FUNCTION meter_claim_use(bytea, timestamptz) TO segs_api;
