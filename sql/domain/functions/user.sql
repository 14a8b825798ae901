-- What is done to accounts by who runs the system. None of it is granted to a service.

CREATE OR REPLACE FUNCTION user_create(
    p_email text, p_name text, p_phone text, p_region text, p_role text, p_password_hash text, p_regions text[], p_now timestamptz)
RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_user_id integer;
    v_region text;
BEGIN
    FOREACH v_region IN ARRAY array_remove(array_append(p_regions, p_region), NULL) LOOP
        IF NOT EXISTS (SELECT FROM regions r WHERE r.region = v_region) THEN
            RAISE EXCEPTION 'there is no region %', v_region USING ERRCODE = 'SG024', HINT = regions_there_are();
        END IF;
    END LOOP;
    INSERT INTO users (email, name, phone, region, role, password_hash, email_verified_at, created_at, updated_at)
    VALUES (lower(p_email), p_name, p_phone, p_region, p_role, p_password_hash, p_now, p_now, p_now)
    ON CONFLICT (email) DO NOTHING
    RETURNING user_id INTO v_user_id;
    IF v_user_id IS NULL THEN
        RAISE EXCEPTION 'there is a user % already', lower(p_email) USING ERRCODE = 'SG050';
    END IF;
    INSERT INTO operator_regions (user_id, region, created_at) SELECT v_user_id, r, p_now FROM unnest(p_regions) AS r;
    RETURN v_user_id;
END
$$;
COMMENT ON FUNCTION user_create(text, text, text, text, text, text, text[], timestamptz) IS 'A user whose address is vouched for, with a password, a role, and the regions of an operator; raises SG024 no such region, SG050 address taken';

CREATE OR REPLACE FUNCTION user_of(p_email text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    v_user_id integer;
BEGIN
    SELECT user_id INTO v_user_id FROM users WHERE email = lower(p_email);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user %', lower(p_email) USING ERRCODE = 'SG051';
    END IF;
    RETURN v_user_id;
END
$$;
COMMENT ON FUNCTION user_of(text) IS 'The user of this address; raises SG051 where there is none';

CREATE OR REPLACE FUNCTION user_suspend(p_user_id integer, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE users SET suspended_at = coalesce(suspended_at, p_now) WHERE user_id = p_user_id;
    PERFORM sessions_revoke(p_user_id, 'suspended', p_now);
END
$$;
COMMENT ON FUNCTION user_suspend(integer, timestamptz) IS 'Ends all sessions of a user, who may not log in again';

CREATE OR REPLACE FUNCTION user_role_set(p_user_id integer, p_role text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE users SET role = p_role WHERE user_id = p_user_id AND role <> p_role;
    IF FOUND THEN
        PERFORM sessions_revoke(p_user_id, 'role_changed', p_now);
        -- Whoever is to be an operator again some day is told anew where.
        DELETE FROM operator_regions WHERE user_id = p_user_id;
    END IF;
END
$$;
COMMENT ON FUNCTION user_role_set(integer, text, timestamptz) IS 'Gives a user another role; they log in anew, and look after no region until they are given one';
