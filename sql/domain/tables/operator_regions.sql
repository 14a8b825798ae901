CREATE TABLE IF NOT EXISTS operator_regions (
    operator_region_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT operator_regions_key UNIQUE (user_id, region)
);
COMMENT ON TABLE operator_regions IS 'Regions that each operator looks after; it says nothing of users who are no operators';
COMMENT ON COLUMN operator_regions.operator_region_id IS 'Row key';
COMMENT ON COLUMN operator_regions.user_id IS 'The operator';
COMMENT ON COLUMN operator_regions.region IS 'A region of theirs';
COMMENT ON COLUMN operator_regions.created_at IS 'When it was given';
CREATE OR REPLACE TRIGGER operator_regions_audit AFTER INSERT OR UPDATE OR DELETE ON operator_regions
    FOR EACH ROW EXECUTE FUNCTION audit_change('operator_region_id');
GRANT SELECT ON operator_regions TO segs_api, segs_worker, segs_readonly;
