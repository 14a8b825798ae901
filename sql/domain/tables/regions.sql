CREATE TABLE IF NOT EXISTS regions (
    region text PRIMARY KEY CHECK (region ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text NOT NULL CHECK (name <> ''),
    capacity_w double precision CHECK (capacity_w > 0 AND capacity_w < 'infinity'),
    timezone text NOT NULL CONSTRAINT regions_timezone_is_known CHECK (is_timezone(timezone)),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE regions IS 'Regions of the grid: meters are summed and priced by them';
COMMENT ON COLUMN regions.region IS 'Short name: lower-case letters, digits, hyphen and underscore';
COMMENT ON COLUMN regions.name IS 'Name for people';
COMMENT ON COLUMN regions.capacity_w IS 'Capacity of the region''s supply, W; NULL where it is unknown';
COMMENT ON COLUMN regions.timezone IS 'IANA zone that new meters of the region get';
COMMENT ON COLUMN regions.created_at IS 'When the row was made';
COMMENT ON COLUMN regions.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER regions_touch BEFORE UPDATE ON regions FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER regions_audit AFTER INSERT OR UPDATE OR DELETE ON regions
    FOR EACH ROW EXECUTE FUNCTION audit_change('region');
GRANT SELECT, INSERT, UPDATE ON regions TO segs_api;
GRANT SELECT ON regions TO segs_worker, segs_readonly;
