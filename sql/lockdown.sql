-- Last part of both masters. PostgreSQL lets PUBLIC execute every new function; ours are for the roles they are granted
-- to, each grant standing under its function. (ALTER DEFAULT PRIVILEGES would also hit functions that an upgrade of an
-- extension adds.)
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid::regprocedure
          FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace
           AND has_function_privilege('public', p.oid, 'EXECUTE')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', v_function);
    END LOOP;
END
$$;
