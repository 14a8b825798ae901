-- One-time codes. Whoever gives a wrong one gets an answer and no error: an error would take the count of it back. Codes
-- and guesses are counted for the network that asks: nobody uses up, or voids, what somebody else was sent.

CREATE OR REPLACE FUNCTION otp_subject(p_email text, p_purpose text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.user_id FROM users u
     WHERE u.email = lower(p_email) AND u.suspended_at IS NULL
       AND CASE p_purpose WHEN 'verify_email' THEN u.password_hash IS NULL ELSE u.email_verified_at IS NOT NULL END
$$;
COMMENT ON FUNCTION otp_subject(text, text) IS 'Whose codes of a purpose are for this address; NULL where there is nobody: verify_email is for who has no password yet, everything else for proven addresses';
GRANT EXECUTE ON FUNCTION otp_subject(text, text) TO segs_api;

CREATE OR REPLACE FUNCTION otp_issue(
    p_user_id integer, p_purpose text, p_code_hash bytea, p_sealed_secret bytea, p_lifetime interval, p_now timestamptz,
    p_address inet DEFAULT NULL, p_details jsonb DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_lifetime CONSTANT interval := least(p_lifetime, INTERVAL '10 minutes');
    v_network CONSTANT text := network_of(p_address);
    v_user users;
    v_asked integer;
    v_all integer;
    v_details jsonb := p_details;
BEGIN
    -- One at a time for a user: of two that come together the later supersedes the earlier.
    SELECT u.* INTO v_user FROM users u WHERE u.user_id = p_user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL
       FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT count(*) FILTER (WHERE o.asked_from = v_network), count(*) INTO v_asked, v_all
      FROM otp_verifications o
     WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.created_at > p_now - INTERVAL '1 hour';
    -- Strangers in many networks use up what strangers have, and not what the user has where they are known.
    IF v_asked >= 5 OR v_all >= 10 AND login_place(p_user_id, p_address, p_now) = '' THEN
        RETURN false;
    END IF;
    IF v_details IS NULL THEN
        -- Another code for the same registration.
        SELECT o.details INTO v_details FROM otp_verifications o
         WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.asked_from = v_network
         ORDER BY o.created_at DESC, o.otp_id DESC LIMIT 1;
    END IF;
    UPDATE otp_verifications SET superseded_at = p_now
     WHERE user_id = p_user_id AND purpose = p_purpose AND asked_from = v_network AND used_at IS NULL AND superseded_at IS NULL;
    INSERT INTO otp_verifications (user_id, purpose, code_hash, asked_from, details, created_at, expires_at)
    VALUES (p_user_id, p_purpose, p_code_hash, v_network, v_details, p_now, p_now + v_lifetime);
    INSERT INTO outbox (user_id, channel, template, payload, sealed_secret, created_at, expires_at)
    VALUES (p_user_id, 'email', p_purpose,
            jsonb_build_object('name', coalesce(v_details ->> 'name', v_user.name), 'email', v_user.email), p_sealed_secret,
            p_now, p_now + v_lifetime);
    RETURN true;
END
$$;
COMMENT ON FUNCTION otp_issue(integer, text, bytea, bytea, interval, timestamptz, inet, jsonb) IS 'Makes a code the one open code for a user, a purpose and the network that asks, and puts it, sealed, into the outbox; p_details are what a registration says, NULL for those of the code before. False, and nothing is sent, after 5 codes in an hour for this network, or, in one where the user is not known, 10 for all. Wrong guesses at earlier codes go on counting';
GRANT EXECUTE ON FUNCTION otp_issue(integer, text, bytea, bytea, interval, timestamptz, inet, jsonb) TO segs_api;

CREATE OR REPLACE FUNCTION otp_use(
    p_user_id integer, p_purpose text, p_code_hash bytea, p_now timestamptz, p_address inet, OUT outcome text, OUT details jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_network CONSTANT text := network_of(p_address);
    v_own integer;
    v_strange integer;
    v_right boolean;
BEGIN
    outcome := 'wrong';
    -- Guesses that come together are counted one after the other.
    PERFORM FROM users u WHERE u.user_id = p_user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(o.attempts) FILTER (WHERE o.asked_from = v_network), 0), coalesce(sum(o.strange_attempts), 0)
      INTO v_own, v_strange
      FROM otp_verifications o
     WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.created_at > p_now - INTERVAL '1 hour';
    IF v_own >= 5 THEN
        outcome := 'locked';
    ELSE
        UPDATE otp_verifications o
           SET attempts = o.attempts + (o.code_hash <> p_code_hash)::integer,
               used_at = CASE WHEN o.code_hash = p_code_hash THEN p_now END
         WHERE o.user_id = p_user_id AND o.purpose = p_purpose AND o.asked_from = v_network AND o.used_at IS NULL
           AND o.superseded_at IS NULL AND o.expires_at > p_now AND o.created_at <= p_now
        RETURNING o.code_hash = p_code_hash, o.details INTO v_right, details;
        IF v_right THEN
            outcome := 'right';
            RETURN;
        END IF;
    END IF;
    details := NULL;
    -- A code that resets a password is good only where it was asked for. One that proves an address may have been asked
    -- for at home and typed on the way.
    IF p_purpose <> 'verify_email' THEN
        RETURN;
    END IF;
    IF v_strange >= 5 THEN
        outcome := 'locked';
        RETURN;
    END IF;
    UPDATE otp_verifications o SET used_at = p_now
     WHERE o.otp_id = (SELECT s.otp_id FROM otp_verifications s
                        WHERE s.user_id = p_user_id AND s.purpose = p_purpose AND s.asked_from <> v_network
                          AND s.code_hash = p_code_hash AND s.used_at IS NULL AND s.superseded_at IS NULL
                          AND s.expires_at > p_now AND s.created_at <= p_now
                        ORDER BY s.created_at DESC LIMIT 1)
    RETURNING o.details INTO details;
    IF FOUND THEN
        outcome := 'right';
        RETURN;
    END IF;
    UPDATE otp_verifications o SET strange_attempts = o.strange_attempts + 1
     WHERE o.otp_id = (SELECT s.otp_id FROM otp_verifications s
                        WHERE s.user_id = p_user_id AND s.purpose = p_purpose AND s.asked_from <> v_network
                          AND s.used_at IS NULL AND s.superseded_at IS NULL AND s.expires_at > p_now AND s.created_at <= p_now
                        ORDER BY s.created_at DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION otp_use(integer, text, bytea, timestamptz, inet) IS 'What otp_check does, and the details of the registration that the right code was sent for';

CREATE OR REPLACE FUNCTION otp_check(
    p_user_id integer, p_purpose text, p_code_hash bytea, p_now timestamptz, p_address inet DEFAULT NULL)
RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.outcome FROM otp_use(p_user_id, p_purpose, p_code_hash, p_now, p_address) AS u
$$;
COMMENT ON FUNCTION otp_check(integer, text, bytea, timestamptz, inet) IS 'right (and used up), wrong, or locked: after 5 wrong guesses within an hour, at whichever codes, no code is right. Guesses from the network that asked for a code, and those of all others, are counted apart. Both hashes are HMACs, so that the time of comparing them tells nothing of the code';
GRANT EXECUTE ON FUNCTION otp_check(integer, text, bytea, timestamptz, inet) TO segs_api;
