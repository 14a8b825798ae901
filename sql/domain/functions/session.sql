-- A session is a family of refresh tokens that descend from one login; an access token is good while its family is.

CREATE OR REPLACE FUNCTION sessions_revoke(p_user_id integer, p_reason text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    UPDATE users SET tokens_valid_from = greatest(tokens_valid_from, p_now) WHERE user_id = p_user_id;
    UPDATE sessions SET revoked_at = greatest(p_now, created_at), revoke_reason = p_reason
     WHERE user_id = p_user_id AND revoked_at IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION sessions_revoke(integer, text, timestamptz) IS 'Ends all sessions of a user, for a reason of sessions.revoke_reason; returns how many tokens that were';

CREATE OR REPLACE FUNCTION session_lock(p_family_id uuid) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('segs.session ' || p_family_id, 0))
$$;
COMMENT ON FUNCTION session_lock(uuid) IS 'Whoever changes a session goes one after the other: a token must not be rotated past its revocation';

CREATE OR REPLACE FUNCTION session_role(p_user_id integer, p_family_id uuid, p_jti uuid, p_now timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN (
        SELECT u.role
          FROM users u
         WHERE u.user_id = p_user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL
           AND EXISTS (SELECT FROM sessions s WHERE s.family_id = p_family_id AND s.user_id = p_user_id AND s.rotated_at IS NULL
                          AND s.revoked_at IS NULL AND s.expires_at > p_now)
           AND NOT EXISTS (SELECT FROM sessions s WHERE s.family_id = p_family_id AND s.created_at < u.tokens_valid_from)
           AND NOT EXISTS (SELECT FROM token_blacklist b WHERE b.jti = p_jti));
END
$$;
COMMENT ON FUNCTION session_role(integer, uuid, uuid, timestamptz) IS 'The user''s role as it is now, if the session that an access token names still stands; NULL where it does not. Suspension, deletion, logout and another role count at once';

CREATE OR REPLACE FUNCTION session_enter(
    p_user_id integer, p_family_id uuid, p_jti uuid, p_request_id text, p_now timestamptz, OUT role text, OUT regions text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('segs.user_id', '', true);
    role := session_role(p_user_id, p_family_id, p_jti, p_now);
    IF role IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('segs.user_id', p_user_id::text, true), set_config('segs.actor', 'user:' || p_user_id, true),
            set_config('segs.request_id', coalesce(p_request_id, ''), true);
    regions := caller_regions();
END
$$;
COMMENT ON FUNCTION session_enter(integer, uuid, uuid, text, timestamptz) IS 'Makes the transaction the user''s, if the session that the access token names still stands: role and regions as they are now, NULL where it does not. Suspension, deletion, logout and another role count at once';
GRANT EXECUTE ON FUNCTION session_enter(integer, uuid, uuid, text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION session_rotate(
    p_token_hash bytea, p_next_hash bytea, p_user_agent text, p_address inet, p_lifetime interval, p_retry interval, p_now timestamptz,
    OUT outcome text, OUT user_id integer, OUT family_id uuid, OUT role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_old sessions;
    v_role text;
BEGIN
    outcome := 'refused';
    SELECT s.* INTO v_old FROM sessions s WHERE s.token_hash = p_token_hash;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM session_lock(v_old.family_id);
    SELECT s.* INTO v_old FROM sessions s WHERE s.token_hash = p_token_hash;
    IF NOT FOUND OR v_old.revoked_at IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT u.role INTO v_role FROM users u
     WHERE u.user_id = v_old.user_id AND u.suspended_at IS NULL AND u.deleted_at IS NULL
       AND NOT EXISTS (SELECT FROM sessions s WHERE s.family_id = v_old.family_id AND s.created_at < u.tokens_valid_from);
    IF v_role IS NULL THEN
        RETURN;
    END IF;
    IF v_old.rotated_at IS NULL THEN
        IF v_old.expires_at <= p_now THEN
            RETURN;
        END IF;
        UPDATE sessions s SET rotated_at = greatest(p_now, s.created_at) WHERE s.session_id = v_old.session_id;
        INSERT INTO sessions (family_id, user_id, token_hash, user_agent, address, created_at, expires_at)
        VALUES (v_old.family_id, v_old.user_id, p_next_hash, left(p_user_agent, 500), p_address,
                greatest(p_now, v_old.created_at), greatest(p_now, v_old.created_at) + p_lifetime);
    ELSIF p_now > v_old.rotated_at + p_retry
          OR NOT EXISTS (SELECT FROM sessions s WHERE s.family_id = v_old.family_id AND s.token_hash = p_next_hash
                            AND s.rotated_at IS NULL AND s.revoked_at IS NULL AND s.expires_at > p_now) THEN
        UPDATE sessions s SET revoked_at = greatest(p_now, s.created_at), revoke_reason = 'reuse'
         WHERE s.family_id = v_old.family_id AND s.revoked_at IS NULL;
        outcome := 'reused';
        user_id := v_old.user_id;
        family_id := v_old.family_id;
        RETURN;
    END IF;
    outcome := 'rotated';
    user_id := v_old.user_id;
    family_id := v_old.family_id;
    role := v_role;
END
$$;
COMMENT ON FUNCTION session_rotate(bytea, bytea, text, inet, interval, interval, timestamptz) IS 'Exchanges a refresh token for its successor: rotated, also for who asks again within p_retry because the answer was lost; refused; or reused, when a token that was exchanged before comes again, and the session is over for all who have one of it';
GRANT EXECUTE ON FUNCTION session_rotate(bytea, bytea, text, inet, interval, interval, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION session_end(p_family_id uuid, p_jti uuid, p_token_expires_at timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM session_lock(p_family_id);
    UPDATE sessions SET revoked_at = greatest(p_now, created_at), revoke_reason = 'logout'
     WHERE family_id = p_family_id AND user_id = caller_id() AND revoked_at IS NULL;
    INSERT INTO token_blacklist (jti, user_id, reason, created_at, expires_at)
    SELECT p_jti, caller_id(), 'logout', p_now, p_token_expires_at WHERE p_token_expires_at > p_now AND caller_id() IS NOT NULL
    ON CONFLICT (jti) DO NOTHING;
END
$$;
COMMENT ON FUNCTION session_end(uuid, uuid, timestamptz, timestamptz) IS 'The caller leaves one session, and its access token is refused from now on';
GRANT EXECUTE ON FUNCTION session_end(uuid, uuid, timestamptz, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION sessions_end(p_now timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT sessions_revoke(caller_id(), 'logout_all', p_now)
$$;
COMMENT ON FUNCTION sessions_end(timestamptz) IS 'The caller leaves all sessions; returns how many tokens that ended';
GRANT EXECUTE ON FUNCTION sessions_end(timestamptz) TO segs_api;
