CREATE OR REPLACE FUNCTION password_set(p_token_hash bytea, p_password_hash text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_user_id integer;
BEGIN
    UPDATE password_proofs p SET used_at = p_now
     WHERE p.token_hash = p_token_hash AND p.used_at IS NULL AND p.created_at <= p_now AND p.expires_at > p_now
       AND EXISTS (SELECT FROM users u WHERE u.user_id = p.user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL)
    RETURNING p.user_id INTO v_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this proof is unknown, used or too old' USING ERRCODE = 'SG052', HINT = 'Have a new code sent.';
    END IF;
    UPDATE password_proofs SET used_at = p_now
     WHERE user_id = v_user_id AND used_at IS NULL AND created_at <= p_now AND expires_at > p_now;
    UPDATE users SET password_hash = p_password_hash WHERE user_id = v_user_id;
    PERFORM sessions_revoke(v_user_id, 'password_changed', p_now);
    RETURN v_user_id;
END
$$;
COMMENT ON FUNCTION password_set(bytea, text, timestamptz) IS 'Sets the password of who has the proof, which is then used up, and ends all their sessions; raises SG052 no such proof';
GRANT EXECUTE ON FUNCTION password_set(bytea, text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION password_proof_email(p_token_hash bytea, p_now timestamptz, OUT email text, OUT name text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    SELECT u.email, u.name INTO email, name FROM password_proofs p JOIN users u USING (user_id)
     WHERE p.token_hash = p_token_hash AND p.used_at IS NULL AND p.created_at <= p_now AND p.expires_at > p_now
       AND u.suspended_at IS NULL AND u.deleted_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this proof is unknown, used or too old' USING ERRCODE = 'SG052', HINT = 'Have a new code sent.';
    END IF;
END
$$;
COMMENT ON FUNCTION password_proof_email(bytea, timestamptz) IS 'Whose proof it is, so that a password that is their name or address is refused; raises SG052 no such proof';
GRANT EXECUTE ON FUNCTION password_proof_email(bytea, timestamptz) TO segs_api;
