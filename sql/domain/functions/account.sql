-- What admins do to accounts, and how somebody leaves. Sessions notice with their next request.

CREATE OR REPLACE FUNCTION account_lock(p_user_id integer, p_own boolean) RETURNS users
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_user users;
BEGIN
    IF NOT p_own AND caller_role() IS DISTINCT FROM 'ADMIN' THEN
        RAISE EXCEPTION 'only an admin may do this' USING ERRCODE = 'SG080';
    END IF;
    IF NOT p_own AND p_user_id = caller_id() THEN
        RAISE EXCEPTION 'nobody does this to their own account' USING ERRCODE = 'SG081', HINT = 'Ask another admin.';
    END IF;
    -- Two admins who put each other out at the same moment would leave none.
    PERFORM pg_advisory_xact_lock(hashtextextended('segs.admins', 0));
    SELECT u.* INTO v_user FROM users u WHERE u.user_id = p_user_id AND u.deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user %', p_user_id USING ERRCODE = 'SG051';
    END IF;
    -- Meanwhile somebody else may have put out the caller.
    IF caller_role() IS NULL OR NOT p_own AND caller_role() <> 'ADMIN' THEN
        RAISE EXCEPTION 'only an admin may do this' USING ERRCODE = 'SG080';
    END IF;
    RETURN v_user;
END
$$;
COMMENT ON FUNCTION account_lock(integer, boolean) IS 'The account that an admin, or with p_own its user, is about to change, one change at a time; raises SG051 no such user, SG080 no admin, SG081 one''s own';

CREATE OR REPLACE FUNCTION account_role(p_user_id integer, p_role text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM account_lock(p_user_id, false);
    PERFORM user_role_set(p_user_id, p_role, p_now);
END
$$;
COMMENT ON FUNCTION account_role(integer, text, timestamptz) IS 'An admin gives a user another role, who then logs in anew; raises as account_lock does';
GRANT EXECUTE ON FUNCTION account_role(integer, text, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION account_regions(p_user_id integer, p_regions text[], p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_user users := account_lock(p_user_id, false);
    v_region text;
BEGIN
    IF v_user.role <> 'OPERATOR' THEN
        RAISE EXCEPTION 'user % is no operator', p_user_id USING ERRCODE = 'SG085', HINT = 'Give the role first.';
    END IF;
    FOREACH v_region IN ARRAY p_regions LOOP
        IF NOT EXISTS (SELECT FROM regions r WHERE r.region = v_region) THEN
            RAISE EXCEPTION 'there is no region %', v_region USING ERRCODE = 'SG024', HINT = regions_there_are();
        END IF;
    END LOOP;
    DELETE FROM operator_regions WHERE user_id = p_user_id AND region <> ALL (p_regions);
    INSERT INTO operator_regions (user_id, region, created_at)
    SELECT DISTINCT p_user_id, r, p_now FROM unnest(p_regions) AS r
    ON CONFLICT (user_id, region) DO NOTHING;
END
$$;
COMMENT ON FUNCTION account_regions(integer, text[], timestamptz) IS 'The regions that an operator looks after are these and no others, from the next statement on; raises as account_lock does, SG024 no such region, SG085 no operator';
GRANT EXECUTE ON FUNCTION account_regions(integer, text[], timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION account_suspend(p_user_id integer, p_suspended boolean, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM account_lock(p_user_id, false);
    IF p_suspended THEN
        PERFORM user_suspend(p_user_id, p_now);
    ELSE
        UPDATE users SET suspended_at = NULL WHERE user_id = p_user_id AND suspended_at IS NOT NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION account_suspend(integer, boolean, timestamptz) IS 'An admin suspends a user, whose sessions end, or lets them log in again; raises as account_lock does';
GRANT EXECUTE ON FUNCTION account_suspend(integer, boolean, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION account_delete(p_user_id integer, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_user users := account_lock(p_user_id, p_user_id = caller_id());
BEGIN
    IF v_user.role = 'ADMIN' AND v_user.suspended_at IS NULL
       AND NOT EXISTS (SELECT FROM users u WHERE u.role = 'ADMIN' AND u.user_id <> p_user_id AND u.suspended_at IS NULL
                          AND u.deleted_at IS NULL AND u.password_hash IS NOT NULL) THEN
        RAISE EXCEPTION 'this is the last admin' USING ERRCODE = 'SG081', HINT = 'Make another one first.';
    END IF;
    PERFORM sessions_revoke(p_user_id, 'deleted', p_now);
    -- Bills and what meters measured stay, as the law wants; nothing says any more whose they were but a number.
    DELETE FROM meter_owners WHERE user_id = p_user_id AND lower(valid) >= p_now;
    UPDATE meter_owners SET valid = tstzrange(lower(valid), p_now) WHERE user_id = p_user_id AND upper(valid) > p_now;
    DELETE FROM rate_buckets
     WHERE starts_with(bucket, login_bucket(v_user.email)) OR bucket = 'second-factor:' || p_user_id
        OR starts_with(bucket, 'second-factor:' || p_user_id || ':');
    DELETE FROM sessions WHERE user_id = p_user_id;
    DELETE FROM otp_verifications WHERE user_id = p_user_id;
    DELETE FROM password_proofs WHERE user_id = p_user_id;
    DELETE FROM outbox WHERE user_id = p_user_id;
    DELETE FROM second_factors WHERE user_id = p_user_id;
    DELETE FROM login_networks WHERE user_id = p_user_id;
    DELETE FROM operator_regions WHERE user_id = p_user_id;
    DELETE FROM user_preferences WHERE user_id = p_user_id;
    DELETE FROM idempotency_keys WHERE caller = 'user:' || p_user_id;
    UPDATE users
       SET email = NULL, name = NULL, phone = NULL, region = NULL, password_hash = NULL, email_verified_at = NULL,
           role = 'USER', deleted_at = greatest(p_now, created_at)
     WHERE user_id = p_user_id;
    -- The log keeps what was done, and to which number.
    DELETE FROM audit_personal WHERE user_id = p_user_id;
END
$$;
COMMENT ON FUNCTION account_delete(integer, timestamptz) IS 'The caller, or whom an admin names, leaves: row and audit log lose all that is personal, meters are nobody''s from now on, the address is free; bills, and whose meters were until now, stay. Raises as account_lock does, SG081 the last admin';
GRANT EXECUTE ON FUNCTION account_delete(integer, timestamptz) TO segs_api;
