-- The API reads by functions that look at what its caller may see, and has no right to a table any more.

DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT c.oid FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM segs_api', v_table);
    END LOOP;
END
$$;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM segs_api;
