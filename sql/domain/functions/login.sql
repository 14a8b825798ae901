-- A login is two transactions: a password takes long to compare, and nobody waits for a row meanwhile.

CREATE OR REPLACE FUNCTION login_bucket(p_email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT 'login:account:' || encode(sha256(convert_to(lower(p_email), 'UTF8')), 'hex')
$$;
COMMENT ON FUNCTION login_bucket(text) IS 'Bucket of the attempts at an account; the address itself, which may be a password typed into the wrong field, is not kept';

CREATE OR REPLACE FUNCTION login_network_known(p_user_id integer, p_address inet, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO login_networks AS n (user_id, network, last_at)
    SELECT p_user_id, network_of(p_address), p_now WHERE p_address IS NOT NULL
    ON CONFLICT (user_id, network) DO UPDATE SET last_at = greatest(n.last_at, excluded.last_at)
$$;
COMMENT ON FUNCTION login_network_known(integer, inet, timestamptz) IS 'The user has shown who they are from this network';

CREATE OR REPLACE FUNCTION login_place(p_user_id integer, p_address inet, p_now timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce((SELECT ':' || n.network FROM login_networks n
                      WHERE n.user_id = p_user_id AND n.network = network_of(p_address)
                        AND n.last_at > p_now - INTERVAL '90 days'), '')
$$;
COMMENT ON FUNCTION login_place(integer, inet, timestamptz) IS 'What a user''s buckets end with: a network that they are known in has one of its own, all strangers have one together';

CREATE OR REPLACE FUNCTION tell(p_user_id integer, p_template text, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO outbox (user_id, channel, template, payload, created_at)
    SELECT u.user_id, 'email', p_template, jsonb_build_object('name', u.name, 'email', u.email), p_now
      FROM users u
     WHERE u.user_id = p_user_id AND u.deleted_at IS NULL
       AND NOT EXISTS (SELECT FROM outbox o WHERE o.user_id = u.user_id AND o.template = p_template
                          AND o.created_at > p_now - INTERVAL '1 hour' AND o.created_at <= p_now)
$$;
COMMENT ON FUNCTION tell(integer, text, timestamptz) IS 'A message to a user about their account, the same one at most once an hour';

CREATE OR REPLACE FUNCTION login_begin(
    p_email text, p_address inet, p_now timestamptz,
    OUT retry_after_s integer, OUT remaining integer, OUT user_id integer, OUT password_hash text, OUT sealed_secret bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_found users;
    v_taken record;
BEGIN
    -- A count that a crash of the server takes back is no loss: nobody waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
    -- 30 at once from an address, then one in 2 s; 10 at once for an account, then one a minute. An account that does
    -- not exist is limited as one that does. Where its owner is known they have 10 of their own: strangers who guess
    -- lock out strangers, and not the owner.
    SELECT t.* INTO v_taken FROM take_token('login:address:' || network_of(p_address), 30, 0.5, p_now) t;
    IF v_taken.allowed THEN
        SELECT u.* INTO v_found FROM users u WHERE u.email = lower(p_email);
        SELECT t.* INTO v_taken
          FROM take_token(login_bucket(p_email) || login_place(v_found.user_id, p_address, p_now), 10, 1 / 60.0, p_now) t;
    END IF;
    retry_after_s := v_taken.retry_after_s;
    remaining := v_taken.remaining;
    IF v_taken.allowed AND v_found.suspended_at IS NULL THEN
        user_id := v_found.user_id;
        password_hash := v_found.password_hash;
        sealed_secret := (SELECT f.sealed_secret FROM second_factors f
                           WHERE f.user_id = v_found.user_id AND f.confirmed_at IS NOT NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION login_begin(text, inet, timestamptz) IS 'Counts an attempt to log in, before it is known how it ends: retry_after_s is above 0 where there were too many, by address or by account. Else what the password is compared with, and codes are made of; NULL where nobody may log in, which is to cost the caller the same time';
GRANT EXECUTE ON FUNCTION login_begin(text, inet, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION login_succeed(
    p_user_id integer, p_password_hash text, p_token_hash bytea, p_user_agent text, p_address inet, p_lifetime interval,
    p_now timestamptz, p_step bigint DEFAULT NULL, p_recovery_hash bytea DEFAULT NULL, p_new_hash text DEFAULT NULL,
    OUT outcome text, OUT retry_after_s integer, OUT family_id uuid, OUT role text, OUT email text, OUT name text, OUT region text,
    OUT second_factor text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_user users;
    v_factor record;
BEGIN
    outcome := 'refused';
    retry_after_s := 0;
    -- A password that was changed, or an account that was suspended, while the password was compared, opens nothing.
    SELECT u.* INTO v_user FROM users u
     WHERE u.user_id = p_user_id AND u.password_hash = p_password_hash AND u.suspended_at IS NULL AND u.deleted_at IS NULL
       FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT f.* INTO v_factor FROM second_factor_use(p_user_id, p_step, p_recovery_hash, p_address, p_now) f;
    IF v_factor.outcome IN ('missing', 'wrong', 'limited') THEN
        outcome := 'second_factor_' || v_factor.outcome;
        retry_after_s := v_factor.retry_after_s;
        RETURN;
    END IF;
    IF p_new_hash IS NOT NULL THEN
        UPDATE users u SET password_hash = p_new_hash WHERE u.user_id = p_user_id;
    END IF;
    INSERT INTO sessions (user_id, token_hash, user_agent, address, created_at, expires_at)
    VALUES (p_user_id, p_token_hash, left(p_user_agent, 500), p_address, greatest(p_now, v_user.tokens_valid_from),
            greatest(p_now, v_user.tokens_valid_from) + p_lifetime)
    RETURNING sessions.family_id INTO family_id;
    -- Who knows the password has not been guessing.
    DELETE FROM rate_buckets WHERE bucket = login_bucket(v_user.email) || login_place(p_user_id, p_address, p_now);
    PERFORM login_network_known(p_user_id, p_address, p_now);
    outcome := 'opened';
    role := v_user.role;
    email := v_user.email;
    name := v_user.name;
    region := v_user.region;
    second_factor := CASE WHEN v_factor.outcome = 'right' THEN 'on' WHEN second_factor_missing(p_user_id) THEN 'missing' ELSE 'off' END;
END
$$;
COMMENT ON FUNCTION login_succeed(integer, text, bytea, text, inet, interval, timestamptz, bigint, bytea, text) IS 'Opens a session for who gave the right password, whose hash is still p_password_hash (p_new_hash takes its place), and the second factor, if there is one: p_step is that of a right code of the app, p_recovery_hash what the code would be as a recovery code. outcome: opened; refused where the password is no longer that one; second_factor_missing, second_factor_wrong, or second_factor_limited for retry_after_s. The count of attempts at the account begins anew, for whoever is where the user is';
GRANT EXECUTE ON FUNCTION login_succeed(integer, text, bytea, text, inet, interval, timestamptz, bigint, bytea, text) TO segs_api;
