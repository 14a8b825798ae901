-- The owner's rights write the log, so that a role can neither skip nor forge it; who acted is what the session says.
CREATE OR REPLACE FUNCTION audit_keep_apart(p_row jsonb, p_columns text[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_user CONSTANT integer := p_row ->> 'user_id';
    v_column text;
    -- Without the salt, which goes with the value, nobody finds the value by trying.
    v_salt bytea;
    v_digest text;
BEGIN
    FOREACH v_column IN ARRAY p_columns LOOP
        CONTINUE WHEN p_row ->> v_column IS NULL;
        v_salt := uuid_send(gen_random_uuid());
        INSERT INTO audit_personal (user_id, value, salt, digest)
        VALUES (v_user, p_row ->> v_column, v_salt, encode(sha256(v_salt || convert_to(p_row ->> v_column, 'UTF8')), 'hex'))
        ON CONFLICT (user_id, value) DO NOTHING;
        SELECT p.digest INTO STRICT v_digest FROM audit_personal p WHERE p.user_id = v_user AND p.value = p_row ->> v_column;
        p_row := jsonb_set(p_row, ARRAY[v_column], jsonb_build_object('digest', v_digest));
    END LOOP;
    RETURN p_row;
END
$$;
COMMENT ON FUNCTION audit_keep_apart(jsonb, text[]) IS 'The row with a digest in place of each of these columns'' values, which are in audit_personal from now on';

CREATE OR REPLACE FUNCTION refuse_early_erasure() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM users u WHERE u.user_id = OLD.user_id AND u.deleted_at IS NULL) THEN
        RAISE EXCEPTION 'user % has not left: what the log says of them stays', OLD.user_id USING ERRCODE = 'SG030';
    END IF;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION refuse_early_erasure() IS 'Raises SG030: personal values go with their user, and not before';

CREATE OR REPLACE FUNCTION audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    v_secret text;
BEGIN
    IF TG_OP = 'UPDATE' AND v_old - 'updated_at' = v_new - 'updated_at' THEN
        RETURN NULL;
    END IF;
    FOR v_secret IN
        SELECT key FROM jsonb_object_keys(coalesce(v_new, v_old)) AS key WHERE key ~ '(_hash|_secret|_token)$'
    LOOP
        IF TG_OP = 'UPDATE' AND v_old -> v_secret IS DISTINCT FROM v_new -> v_secret THEN
            v_new := jsonb_set(v_new, ARRAY[v_secret], '"[changed]"');
        ELSIF v_new IS NOT NULL THEN
            v_new := jsonb_set(v_new, ARRAY[v_secret], '"[withheld]"');
        END IF;
        IF v_old IS NOT NULL THEN
            v_old := jsonb_set(v_old, ARRAY[v_secret], '"[withheld]"');
        END IF;
    END LOOP;
    v_old := audit_keep_apart(v_old, TG_ARGV[1:]);
    v_new := audit_keep_apart(v_new, TG_ARGV[1:]);
    INSERT INTO audit_logs (actor, database_role, request_id, action, table_name, row_key, old, new)
    VALUES (coalesce(nullif(current_setting('segs.actor', true), ''), 'role:' || session_user), session_user,
            nullif(current_setting('segs.request_id', true), ''), TG_OP, TG_TABLE_NAME,
            coalesce(v_new, v_old) ->> TG_ARGV[0], v_old, v_new);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_change() IS 'Writes one audit_logs row for a changed row; its first argument is the key column, the others those whose values are personal; *_hash, *_secret and *_token are withheld';

CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'SG030';
END
$$;
COMMENT ON FUNCTION refuse_audit_change() IS 'Raises SG030: nobody, the owner included, changes or removes what was logged';
