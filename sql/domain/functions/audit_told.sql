CREATE OR REPLACE FUNCTION audit_told(p_row jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(e.key,
               CASE WHEN jsonb_typeof(e.value) = 'object' AND e.value ? 'digest' THEN coalesce(to_jsonb(p.value), '"[erased]"')
                    ELSE e.value END), p_row)
      FROM jsonb_each(p_row) AS e
      LEFT JOIN audit_personal p ON jsonb_typeof(e.value) = 'object' AND p.digest = e.value ->> 'digest'
$$;
COMMENT ON FUNCTION audit_told(jsonb) IS 'A row of the log with the personal values that there still are; [erased] for those of who has left';
GRANT EXECUTE ON FUNCTION audit_told(jsonb) TO segs_api, segs_readonly;
