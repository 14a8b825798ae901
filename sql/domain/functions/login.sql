-- A login is two transactions: a password takes long to compare, and nobody waits for a row meanwhile.

CREATE OR REPLACE FUNCTION login_begin(
    p_email text, p_address inet, p_now timestamptz,
    OUT retry_after_s integer, OUT user_id integer, OUT password_hash text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_account CONSTANT text := login_bucket(p_email);
    v_taken record;
BEGIN
    -- 30 at once from an address, then one in 2 s; 10 at once for an account, then one a minute. An account that does
    -- not exist is limited as one that does.
    SELECT t.* INTO v_taken FROM take_token('login:address:' || coalesce(host(p_address), '-'), 30, 0.5, p_now) t;
    IF v_taken.allowed THEN
        SELECT t.* INTO v_taken FROM take_token(v_account, 10, 1 / 60.0, p_now) t;
    END IF;
    retry_after_s := v_taken.retry_after_s;
    IF v_taken.allowed THEN
        SELECT u.user_id, u.password_hash INTO user_id, password_hash
          FROM users u WHERE u.email = lower(p_email) AND u.suspended_at IS NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION login_begin(text, inet, timestamptz) IS 'Counts an attempt to log in, before it is known how it ends: retry_after_s is above 0 where there were too many, by address or by account. Else what the password is compared with; NULL where nobody may log in, which is to cost the caller the same time';
GRANT EXECUTE ON FUNCTION login_begin(text, inet, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION login_bucket(p_email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT 'login:account:' || encode(sha256(convert_to(lower(p_email), 'UTF8')), 'hex')
$$;
COMMENT ON FUNCTION login_bucket(text) IS 'Bucket of the attempts at an account; the address itself, which may be a password typed into the wrong field, is not kept';

CREATE OR REPLACE FUNCTION login_succeed(
    p_user_id integer, p_password_hash text, p_token_hash bytea, p_user_agent text, p_address inet, p_lifetime interval,
    p_now timestamptz, OUT family_id uuid, OUT role text, OUT email text, OUT name text, OUT region text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_user users;
BEGIN
    -- A password that was changed, or an account that was suspended, while the password was compared, opens nothing.
    SELECT u.* INTO v_user FROM users u
     WHERE u.user_id = p_user_id AND u.password_hash = p_password_hash AND u.suspended_at IS NULL AND u.deleted_at IS NULL
       FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO sessions (user_id, token_hash, user_agent, address, created_at, expires_at)
    VALUES (p_user_id, p_token_hash, left(p_user_agent, 500), p_address, greatest(p_now, v_user.tokens_valid_from),
            greatest(p_now, v_user.tokens_valid_from) + p_lifetime)
    RETURNING sessions.family_id INTO family_id;
    -- Who knows the password has not been guessing.
    DELETE FROM rate_buckets WHERE bucket = login_bucket(v_user.email);
    role := v_user.role;
    email := v_user.email;
    name := v_user.name;
    region := v_user.region;
END
$$;
COMMENT ON FUNCTION login_succeed(integer, text, bytea, text, inet, interval, timestamptz) IS 'Opens a session for who gave the right password, whose hash is still p_password_hash; family_id is NULL where that is no longer so. The count of attempts at the account begins anew';
GRANT EXECUTE ON FUNCTION login_succeed(integer, text, bytea, text, inet, interval, timestamptz) TO segs_api;
