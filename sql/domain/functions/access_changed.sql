-- Who remembers what somebody may read is told when that changes: LISTEN segs_access. The payload is the user, or empty for all.
--
-- What session_role() and readable_meters() read is named where the triggers are, in the tables' own files; a test holds the two
-- together. Nothing is told of a new session, which takes nothing from anybody: NOTIFY has commits go one after the other.

CREATE OR REPLACE FUNCTION access_tell(p_users integer[]) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    SELECT pg_notify('segs_access', u.user_id::text)
      FROM (SELECT DISTINCT user_id FROM unnest(p_users) AS u (user_id) WHERE cardinality(p_users) <= 100) AS u
     UNION ALL
    SELECT pg_notify('segs_access', '') WHERE cardinality(p_users) > 100
$$;
COMMENT ON FUNCTION access_tell(integer[]) IS 'Tells whoever listens to segs_access, with the commit, that these users may read something else than before, each once; of more than 100 that all may';

CREATE OR REPLACE FUNCTION access_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_columns CONSTANT text := array_to_string(ARRAY(SELECT quote_ident(a) FROM unnest('user_id'::text || coalesce(TG_ARGV, '{}')) AS a), ', ');
    v_users integer[];
BEGIN
    -- Rows that are the same before and after, as where only a name changes, are nothing to tell of.
    IF TG_OP = 'UPDATE' THEN
        EXECUTE format($sql$
            SELECT array_agg(DISTINCT user_id) FROM (
                (SELECT %1$s FROM old_rows EXCEPT SELECT %1$s FROM new_rows)
                UNION ALL
                (SELECT %1$s FROM new_rows EXCEPT SELECT %1$s FROM old_rows)) AS c$sql$, v_columns) INTO v_users;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT n.user_id) INTO v_users FROM new_rows AS n;
    ELSE
        SELECT array_agg(DISTINCT o.user_id) INTO v_users FROM old_rows AS o;
    END IF;
    IF v_users IS NOT NULL THEN
        PERFORM access_tell(v_users);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION access_changed() IS 'Tells of the users whose rows are new or gone, or differ in a column that the trigger''s arguments name; the tables of rows are old_rows and new_rows';

CREATE OR REPLACE FUNCTION access_changed_for_all() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_notify('segs_access', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION access_changed_for_all() IS 'Tells that anybody may read something else than before';
