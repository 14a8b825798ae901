-- What a region's supply could carry, and when. regions.capacity_w is the present one; whoever changes it writes history.

CREATE TABLE IF NOT EXISTS region_capacities (
    region_capacity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE CASCADE,
    capacity_w double precision NOT NULL CHECK (capacity_w > 0 AND capacity_w < 'infinity'),
    valid tstzrange NOT NULL,
    CONSTRAINT region_capacities_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT region_capacities_one_at_a_time EXCLUDE USING gist (region WITH =, valid WITH &&)
);
COMMENT ON TABLE region_capacities IS 'Capacities of regions (effective-dated), written by functions alone; no row where it was unknown';
COMMENT ON COLUMN region_capacities.region_capacity_id IS 'Row key';
COMMENT ON COLUMN region_capacities.region IS 'The region';
COMMENT ON COLUMN region_capacities.capacity_w IS 'Capacity of the region''s supply, W';
COMMENT ON COLUMN region_capacities.valid IS 'When it was, or is, that; half-open';
COMMENT ON INDEX region_capacities_one_at_a_time IS 'A region has one capacity at a time';
CREATE OR REPLACE TRIGGER region_capacities_audit AFTER INSERT OR UPDATE OR DELETE ON region_capacities
    FOR EACH ROW EXECUTE FUNCTION audit_change('region_capacity_id');
-- Written by functions alone.
GRANT SELECT ON region_capacities TO segs_api, segs_worker, segs_readonly;

-- The owner's rights write history, so that a role can neither skip nor forge it.
CREATE OR REPLACE FUNCTION keep_capacity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_at timestamptz := CASE TG_OP WHEN 'INSERT' THEN '-infinity' ELSE NEW.updated_at END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.capacity_w IS NOT DISTINCT FROM (SELECT c.capacity_w FROM region_capacities c
                                                 WHERE c.region = NEW.region AND upper(c.valid) = 'infinity') THEN
            RETURN NULL;
        END IF;
        UPDATE region_capacities SET valid = tstzrange(lower(valid), v_at)
         WHERE region = NEW.region AND upper(valid) = 'infinity' AND lower(valid) < v_at;
        DELETE FROM region_capacities WHERE region = NEW.region AND lower(valid) >= v_at;
    END IF;
    IF NEW.capacity_w IS NOT NULL THEN
        INSERT INTO region_capacities (region, capacity_w, valid) VALUES (NEW.region, NEW.capacity_w, tstzrange(v_at, 'infinity'));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_capacity() IS 'Writes region_capacities: a new region''s from the beginning of time, a changed one from its updated_at on, unless it is there already';

CREATE OR REPLACE TRIGGER regions_capacity_made AFTER INSERT ON regions FOR EACH ROW EXECUTE FUNCTION keep_capacity();
CREATE OR REPLACE TRIGGER regions_capacity_changed AFTER UPDATE ON regions FOR EACH ROW
    WHEN (OLD.capacity_w IS DISTINCT FROM NEW.capacity_w) EXECUTE FUNCTION keep_capacity();
