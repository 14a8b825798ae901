CREATE OR REPLACE FUNCTION user_register(
    p_email text, p_name text, p_phone text, p_region text, p_now timestamptz, OUT user_id integer, OUT shown_id integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_found users;
BEGIN
    IF p_region IS NOT NULL AND NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region) THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    -- A number is drawn in any case, so that the answer does not tell whether the address was known.
    shown_id := nextval(pg_get_serial_sequence('users', 'user_id'));
    INSERT INTO users AS u (user_id, email, name, phone, region, created_at, updated_at) OVERRIDING SYSTEM VALUE
    VALUES (shown_id, lower(p_email), p_name, p_phone, p_region, p_now, p_now)
    ON CONFLICT (email) DO NOTHING
    RETURNING u.user_id INTO user_id;
    IF user_id IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT u.* INTO v_found FROM users u WHERE u.email = lower(p_email) FOR NO KEY UPDATE;
    IF v_found.email_verified_at IS NULL AND v_found.suspended_at IS NULL THEN
        -- Nobody has proven the address yet. Each code proves the details that it was sent for, and voids no other's.
        user_id := v_found.user_id;
    ELSIF v_found.suspended_at IS NULL
          AND NOT EXISTS (SELECT FROM outbox o WHERE o.user_id = v_found.user_id AND o.template = 'already_registered'
                             AND o.created_at > p_now - INTERVAL '1 hour') THEN
        INSERT INTO outbox (user_id, channel, template, payload, created_at)
        VALUES (v_found.user_id, 'email', 'already_registered', jsonb_build_object('name', v_found.name, 'email', v_found.email), p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION user_register(text, text, text, text, timestamptz) IS 'A new user without a password. user_id is who gets a code for the address: NULL where the address is somebody''s already, who is told by mail instead; shown_id is a number to answer with in either case. Nobody gets a meter by it. Raises SG024 no such region';
GRANT EXECUTE ON FUNCTION user_register(text, text, text, text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION email_verified(
    p_user_id integer, p_code_hash bytea, p_token_hash bytea, p_lifetime interval, p_now timestamptz, p_address inet DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_used record;
    v_region text;
BEGIN
    SELECT u.* INTO v_used FROM otp_use(p_user_id, 'verify_email', p_code_hash, p_now, p_address) AS u;
    IF v_used.outcome <> 'right' THEN
        RETURN v_used.outcome;
    END IF;
    IF EXISTS (SELECT FROM users u WHERE u.user_id = p_user_id AND u.password_hash IS NOT NULL) THEN
        -- Who has a password by now sets another one by resetting it.
        RETURN 'wrong';
    END IF;
    UPDATE otp_verifications o SET superseded_at = p_now
     WHERE o.user_id = p_user_id AND o.purpose = 'verify_email' AND o.used_at IS NULL AND o.superseded_at IS NULL;
    SELECT r.region INTO v_region FROM regions r WHERE r.region = v_used.details ->> 'region';
    UPDATE users u SET name = v_used.details ->> 'name', phone = v_used.details ->> 'phone', region = v_region
     WHERE u.user_id = p_user_id AND u.email_verified_at IS NULL AND v_used.details IS NOT NULL;
    IF FOUND AND v_region IS NOT NULL THEN
        UPDATE user_preferences p SET timezone = r.timezone FROM regions r
         WHERE p.user_id = p_user_id AND r.region = v_region AND p.timezone <> r.timezone;
    END IF;
    UPDATE users SET email_verified_at = coalesce(email_verified_at, p_now) WHERE user_id = p_user_id;
    INSERT INTO password_proofs (token_hash, user_id, created_at, expires_at)
    VALUES (p_token_hash, p_user_id, p_now, p_now + least(p_lifetime, INTERVAL '15 minutes'));
    RETURN 'right';
END
$$;
COMMENT ON FUNCTION email_verified(integer, bytea, bytea, interval, timestamptz, inet) IS 'Holds a code against those that were sent: right, wrong or locked, as otp_check says. If right, the address is proven, the account has the name, phone and region that this code was sent for, and the token of that hash may set a password once';
GRANT EXECUTE ON FUNCTION email_verified(integer, bytea, bytea, interval, timestamptz, inet) TO segs_api;
