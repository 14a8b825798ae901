-- What a region could carry, and when: a load is judged by the capacity of its own time.

CREATE TABLE IF NOT EXISTS capacity_registry (
    region text NOT NULL REFERENCES region_registry,
    capacity_w double precision NOT NULL CHECK (capacity_w > 0),
    valid tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT upper_inc(valid)),
    CONSTRAINT capacity_registry_one_at_a_time EXCLUDE USING gist (region WITH =, valid WITH &&)
);
COMMENT ON TABLE capacity_registry IS 'Capacities of regions (effective-dated), a copy of region_capacities of the domain database; region_registry has the present ones';
COMMENT ON COLUMN capacity_registry.region IS 'region_registry.region';
COMMENT ON COLUMN capacity_registry.capacity_w IS 'Capacity of the region''s supply, W';
COMMENT ON COLUMN capacity_registry.valid IS 'When it was, or is, that; half-open';
COMMENT ON INDEX capacity_registry_one_at_a_time IS 'A region has one capacity at a time';
GRANT SELECT ON capacity_registry TO segs_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON capacity_registry TO segs_worker;
