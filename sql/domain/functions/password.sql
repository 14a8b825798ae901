CREATE OR REPLACE FUNCTION password_replace(p_user_id integer, p_password_hash text, p_address inet, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_user users;
BEGIN
    SELECT u.* INTO v_user FROM users u WHERE u.user_id = p_user_id FOR NO KEY UPDATE;
    UPDATE users SET password_hash = p_password_hash WHERE user_id = p_user_id;
    UPDATE password_proofs SET used_at = p_now
     WHERE user_id = p_user_id AND used_at IS NULL AND created_at <= p_now AND expires_at > p_now;
    PERFORM sessions_revoke(p_user_id, 'password_changed', p_now);
    -- Who has proven the address logs in from here, however many strangers are guessing.
    PERFORM login_network_known(p_user_id, p_address, p_now);
    DELETE FROM rate_buckets WHERE bucket = login_bucket(v_user.email) || ':' || network_of(p_address);
    IF v_user.password_hash IS NOT NULL THEN
        PERFORM tell(p_user_id, 'password_changed', p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION password_replace(integer, text, inet, timestamptz) IS 'Another password for who has proven the address: all sessions and open proofs end, and the network may log in';

CREATE OR REPLACE FUNCTION password_set(
    p_token_hash bytea, p_password_hash text, p_now timestamptz, p_address inet DEFAULT NULL)
RETURNS integer
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
    PERFORM password_replace(v_user_id, p_password_hash, p_address, p_now);
    RETURN v_user_id;
END
$$;
COMMENT ON FUNCTION password_set(bytea, text, timestamptz, inet) IS 'Sets the password of who has the proof, which is then used up, and ends all their sessions; raises SG052 no such proof';
GRANT EXECUTE ON FUNCTION password_set(bytea, text, timestamptz, inet) TO segs_api;

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

CREATE OR REPLACE FUNCTION password_reset(
    p_user_id integer, p_code_hash bytea, p_password_hash text, p_address inet, p_now timestamptz,
    OUT outcome text, OUT email text, OUT name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    outcome := otp_check(p_user_id, 'reset_password', p_code_hash, p_now, p_address);
    IF outcome = 'right' THEN
        SELECT u.email, u.name INTO email, name FROM users u WHERE u.user_id = p_user_id;
        PERFORM password_replace(p_user_id, p_password_hash, p_address, p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION password_reset(integer, bytea, text, inet, timestamptz) IS 'Another password for who has the code: right, wrong or locked, as otp_check says; whose it is, so that one that is their name is refused and all of this taken back';
GRANT EXECUTE ON FUNCTION password_reset(integer, bytea, text, inet, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION password_change(p_old_hash text, p_new_hash text, p_family_id uuid, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- Whoever logs in with the old one meanwhile has either done so before this, and is put out, or fails.
    UPDATE users SET password_hash = p_new_hash
     WHERE user_id = caller_id() AND password_hash = p_old_hash AND suspended_at IS NULL AND deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE password_proofs SET used_at = p_now
     WHERE user_id = caller_id() AND used_at IS NULL AND created_at <= p_now AND expires_at > p_now;
    PERFORM sessions_revoke_others(caller_id(), p_family_id, 'password_changed', p_now);
    PERFORM tell(caller_id(), 'password_changed', p_now);
    RETURN true;
END
$$;
COMMENT ON FUNCTION password_change(text, text, uuid, timestamptz) IS 'The caller, whose password has just been held against p_old_hash, has another one, and all other sessions end; false where the password is no longer that one';
GRANT EXECUTE ON FUNCTION password_change(text, text, uuid, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION caller_secrets(OUT email text, OUT name text, OUT password_hash text, OUT sealed_secret bytea, OUT confirmed boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.email, u.name, u.password_hash, f.sealed_secret, f.confirmed_at IS NOT NULL
      FROM users u LEFT JOIN second_factors f USING (user_id)
     WHERE u.user_id = caller_id() AND u.suspended_at IS NULL AND u.deleted_at IS NULL
$$;
COMMENT ON FUNCTION caller_secrets() IS 'What the caller''s password and codes are held against, before they change or give up what protects the account';
GRANT EXECUTE ON FUNCTION caller_secrets() TO segs_api;

CREATE OR REPLACE FUNCTION password_proven() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM rate_buckets WHERE starts_with(bucket, 'password:user:' || caller_id() || ':')
$$;
COMMENT ON FUNCTION password_proven() IS 'The caller has given the right password: who knows it has not been guessing, and the count of attempts begins anew';
GRANT EXECUTE ON FUNCTION password_proven() TO segs_api;
