-- The owner's rights write the log, so that a role can neither skip nor forge it; who acted is what the session says.
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
    INSERT INTO audit_logs (actor, database_role, request_id, action, table_name, row_key, old, new)
    VALUES (coalesce(nullif(current_setting('segs.actor', true), ''), 'role:' || session_user), session_user,
            nullif(current_setting('segs.request_id', true), ''), TG_OP, TG_TABLE_NAME,
            coalesce(v_new, v_old) ->> TG_ARGV[0], v_old, v_new);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_change() IS 'Writes one audit_logs row for a changed row; its argument is the key column; *_hash, *_secret and *_token are withheld';

CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'SG030';
END
$$;
COMMENT ON FUNCTION refuse_audit_change() IS 'Raises SG030: nobody, the owner included, changes or removes what was logged';
