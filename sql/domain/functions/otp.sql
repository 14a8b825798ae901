-- One-time codes. Whoever gives a wrong one gets an answer and no error: an error would take the count of it back.

CREATE OR REPLACE FUNCTION otp_subject(p_email text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.user_id FROM users u WHERE u.email = lower(p_email) AND u.suspended_at IS NULL
$$;
COMMENT ON FUNCTION otp_subject(text) IS 'Whose codes are for this address; NULL where there is nobody';
GRANT EXECUTE ON FUNCTION otp_subject(text) TO segs_api;

CREATE OR REPLACE FUNCTION otp_issue(
    p_user_id integer, p_purpose text, p_code_hash bytea, p_sealed_secret bytea, p_lifetime interval, p_now timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_lifetime CONSTANT interval := least(p_lifetime, INTERVAL '10 minutes');
    v_user users;
BEGIN
    -- One at a time for a user: of two that come together the later supersedes the earlier.
    SELECT u.* INTO v_user FROM users u WHERE u.user_id = p_user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL
       FOR NO KEY UPDATE;
    IF NOT FOUND OR (SELECT count(*) FROM otp_verifications o
                      WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.created_at > p_now - INTERVAL '1 hour') >= 5 THEN
        RETURN false;
    END IF;
    UPDATE otp_verifications SET superseded_at = p_now
     WHERE user_id = p_user_id AND purpose = p_purpose AND used_at IS NULL AND superseded_at IS NULL;
    INSERT INTO otp_verifications (user_id, purpose, code_hash, created_at, expires_at)
    VALUES (p_user_id, p_purpose, p_code_hash, p_now, p_now + v_lifetime);
    INSERT INTO outbox (user_id, channel, template, payload, sealed_secret, created_at, expires_at)
    VALUES (p_user_id, 'email', p_purpose, jsonb_build_object('name', v_user.name, 'email', v_user.email), p_sealed_secret,
            p_now, p_now + v_lifetime);
    RETURN true;
END
$$;
COMMENT ON FUNCTION otp_issue(integer, text, bytea, bytea, interval, timestamptz) IS 'Makes a code the user''s one open code for a purpose and puts it, sealed, into the outbox; false, and nothing is sent, after 5 codes in an hour. Wrong guesses at earlier codes go on counting';
GRANT EXECUTE ON FUNCTION otp_issue(integer, text, bytea, bytea, interval, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION otp_check(p_user_id integer, p_purpose text, p_code_hash bytea, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_right boolean;
BEGIN
    -- Guesses that come together are counted one after the other.
    PERFORM FROM users u WHERE u.user_id = p_user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'wrong';
    END IF;
    IF (SELECT coalesce(sum(o.attempts), 0) FROM otp_verifications o
         WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.created_at > p_now - INTERVAL '1 hour') >= 5 THEN
        RETURN 'locked';
    END IF;
    UPDATE otp_verifications o
       SET attempts = o.attempts + (o.code_hash <> p_code_hash)::integer,
           used_at = CASE WHEN o.code_hash = p_code_hash THEN p_now END
     WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.used_at IS NULL AND o.superseded_at IS NULL
       AND o.expires_at > p_now AND o.created_at <= p_now
    RETURNING o.code_hash = p_code_hash INTO v_right;
    RETURN CASE WHEN v_right THEN 'right' ELSE 'wrong' END;
END
$$;
COMMENT ON FUNCTION otp_check(integer, text, bytea, timestamptz) IS 'right (and used up), wrong, or locked: after 5 wrong guesses within an hour, at whichever codes, no code is right. Both hashes are HMACs, so that the time of comparing them tells nothing of the code';
GRANT EXECUTE ON FUNCTION otp_check(integer, text, bytea, timestamptz) TO segs_api;
