-- Codes of an app are computed by the API, which has the key; here is kept which were taken, so that none is taken twice.

CREATE OR REPLACE FUNCTION second_factor_missing(p_user_id integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM users u JOIN second_factor_roles r USING (role) WHERE u.user_id = p_user_id)
       AND NOT EXISTS (SELECT FROM second_factors f WHERE f.user_id = p_user_id AND f.confirmed_at IS NOT NULL)
$$;
COMMENT ON FUNCTION second_factor_missing(integer) IS 'Whether the user''s role asks for a second factor, and there is none';

CREATE OR REPLACE FUNCTION second_factor_use(
    p_user_id integer, p_step bigint, p_recovery_hash bytea, p_address inet, p_now timestamptz, OUT outcome text, OUT retry_after_s integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_bucket CONSTANT text := 'second-factor:' || p_user_id || login_place(p_user_id, p_address, p_now);
    v_taken record;
BEGIN
    retry_after_s := 0;
    IF NOT EXISTS (SELECT FROM second_factors f WHERE f.user_id = p_user_id AND f.confirmed_at IS NOT NULL) THEN
        outcome := 'none';
        RETURN;
    END IF;
    IF p_step IS NULL AND p_recovery_hash IS NULL THEN
        outcome := 'missing';
        RETURN;
    END IF;
    -- Who gets here knows the password: 5 codes at once, then one in 10 minutes.
    SELECT t.* INTO v_taken FROM take_token(v_bucket, 5, 1 / 600.0, p_now) t;
    IF NOT v_taken.allowed THEN
        outcome := 'limited';
        retry_after_s := v_taken.retry_after_s;
        RETURN;
    END IF;
    UPDATE second_factors f SET last_step = p_step WHERE f.user_id = p_user_id AND f.last_step < p_step;
    IF NOT FOUND THEN
        UPDATE recovery_codes c SET used_at = p_now
         WHERE c.user_id = p_user_id AND c.code_hash = p_recovery_hash AND c.used_at IS NULL;
    END IF;
    IF FOUND THEN
        outcome := 'right';
        DELETE FROM rate_buckets WHERE bucket = v_bucket;
    ELSE
        outcome := 'wrong';
        PERFORM tell(p_user_id, 'second_factor_refused', p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION second_factor_use(integer, bigint, bytea, inet, timestamptz) IS 'none where the user has no second factor; missing where no code was given; right, and used up; wrong, also for a code that was used before; or limited for retry_after_s, after too many';

CREATE OR REPLACE FUNCTION caller_factor_use(p_step bigint, p_recovery_hash bytea, p_address inet, p_now timestamptz, OUT outcome text, OUT retry_after_s integer)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT f.outcome, f.retry_after_s FROM second_factor_use(caller_id(), p_step, p_recovery_hash, p_address, p_now) AS f
$$;
COMMENT ON FUNCTION caller_factor_use(bigint, bytea, inet, timestamptz) IS 'What second_factor_use says of a code of the caller''s';
GRANT EXECUTE ON FUNCTION caller_factor_use(bigint, bytea, inet, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION second_factor_state(OUT confirmed_at timestamptz, OUT recovery_codes_left integer, OUT required boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT f.confirmed_at,
           (SELECT count(*)::integer FROM recovery_codes c WHERE c.user_id = u.user_id AND c.used_at IS NULL),
           EXISTS (SELECT FROM second_factor_roles r WHERE r.role = u.role)
      FROM users u LEFT JOIN second_factors f ON f.user_id = u.user_id AND f.confirmed_at IS NOT NULL
     WHERE u.user_id = caller_id()
$$;
COMMENT ON FUNCTION second_factor_state() IS 'Since when the caller has a second factor, how many recovery codes are left, whether the role asks for it';
GRANT EXECUTE ON FUNCTION second_factor_state() TO segs_api;

CREATE OR REPLACE FUNCTION second_factor_enrol(p_sealed_secret bytea, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO second_factors AS f (user_id, sealed_secret, created_at) VALUES (caller_id(), p_sealed_secret, p_now)
    ON CONFLICT (user_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, created_at = excluded.created_at
     WHERE f.confirmed_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the second factor is on already' USING ERRCODE = 'SG082', HINT = 'Switch it off first.';
    END IF;
END
$$;
COMMENT ON FUNCTION second_factor_enrol(bytea, timestamptz) IS 'A secret for the caller, of no use until a code confirms it; raises SG082 on already';
GRANT EXECUTE ON FUNCTION second_factor_enrol(bytea, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION second_factor_confirm(
    p_sealed_secret bytea, p_step bigint, p_code_hashes bytea[], p_family_id uuid, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- Whoever is just logging in, as login_succeed locks, gave no code either: their session is seen below, or they are asked.
    PERFORM FROM users u WHERE u.user_id = caller_id() FOR NO KEY UPDATE;
    UPDATE second_factors SET confirmed_at = greatest(p_now, created_at), last_step = p_step
     WHERE user_id = caller_id() AND confirmed_at IS NULL AND sealed_secret = p_sealed_secret;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no second factor waits for a code' USING ERRCODE = 'SG083', HINT = 'Enrol first.';
    END IF;
    INSERT INTO recovery_codes (user_id, code_hash) SELECT caller_id(), h FROM unnest(p_code_hashes) AS h;
    PERFORM sessions_revoke_others(caller_id(), p_family_id, 'second_factor', p_now);
    PERFORM tell(caller_id(), 'second_factor_on', p_now);
END
$$;
COMMENT ON FUNCTION second_factor_confirm(bytea, bigint, bytea[], uuid, timestamptz) IS 'The caller has given a code of that secret, of step p_step: logins ask for one from now on, and other sessions, which gave none, end; raises SG083 nothing to confirm';
GRANT EXECUTE ON FUNCTION second_factor_confirm(bytea, bigint, bytea[], uuid, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION recovery_codes_renew(p_code_hashes bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM second_factors f WHERE f.user_id = caller_id() AND f.confirmed_at IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the second factor is off' USING ERRCODE = 'SG083', HINT = 'Enrol first.';
    END IF;
    DELETE FROM recovery_codes WHERE user_id = caller_id();
    INSERT INTO recovery_codes (user_id, code_hash) SELECT caller_id(), h FROM unnest(p_code_hashes) AS h;
END
$$;
COMMENT ON FUNCTION recovery_codes_renew(bytea[]) IS 'Other recovery codes for the caller, and none of those before; raises SG083 no second factor';
GRANT EXECUTE ON FUNCTION recovery_codes_renew(bytea[]) TO segs_api;

CREATE OR REPLACE FUNCTION second_factor_disable(p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM second_factor_roles r WHERE r.role = caller_role()) THEN
        RAISE EXCEPTION 'your role asks for a second factor' USING ERRCODE = 'SG084';
    END IF;
    DELETE FROM second_factors WHERE user_id = caller_id() AND confirmed_at IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the second factor is off' USING ERRCODE = 'SG083';
    END IF;
    PERFORM tell(caller_id(), 'second_factor_off', p_now);
END
$$;
COMMENT ON FUNCTION second_factor_disable(timestamptz) IS 'The caller logs in with the password alone; raises SG083 no second factor, SG084 the role asks for one';
GRANT EXECUTE ON FUNCTION second_factor_disable(timestamptz) TO segs_api;

-- What follows is for who runs the system; none of it is granted to a service.

CREATE OR REPLACE FUNCTION second_factor_require(p_role text, p_required boolean, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF p_required THEN
        INSERT INTO second_factor_roles (role, created_at) VALUES (p_role, p_now) ON CONFLICT (role) DO NOTHING;
    ELSE
        DELETE FROM second_factor_roles WHERE role = p_role;
    END IF;
END
$$;
COMMENT ON FUNCTION second_factor_require(text, boolean, timestamptz) IS 'Whether users of a role, OPERATOR or ADMIN, have to have a second factor; it counts from the next request on';

CREATE OR REPLACE FUNCTION second_factor_forget(p_user_id integer, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM second_factors WHERE user_id = p_user_id;
    PERFORM sessions_revoke(p_user_id, 'second_factor', p_now), tell(p_user_id, 'second_factor_off', p_now);
END
$$;
COMMENT ON FUNCTION second_factor_forget(integer, timestamptz) IS 'For a user who has lost app and recovery codes, and has shown otherwise who they are: sessions end, and the password alone opens the next one';
