-- The service roles. Roles belong to the cluster, and several databases may be applied at the same instant, so finding
-- one created meanwhile is no error. Passwords are the operator's: none is set here.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['segs_ingest', 'segs_api', 'segs_worker', 'segs_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', v_role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO segs_ingest, segs_api, segs_worker, segs_readonly', current_database());
    -- Ingest and release stage rows in temporary tables; the others have no use for one.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO segs_ingest, segs_worker', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO segs_ingest, segs_api, segs_worker, segs_readonly;
GRANT SELECT ON schema_version TO segs_ingest, segs_api, segs_worker, segs_readonly;
