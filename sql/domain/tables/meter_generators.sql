-- Which meter measures what is generated behind another one, and when: by tariffs that buy all and sell all, what is used is
-- what came in and was generated less what went out.

CREATE TABLE IF NOT EXISTS meter_generators (
    meter_generator_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    generator_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    valid tstzrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_generators_are_two_meters CHECK (meter_id <> generator_id),
    CONSTRAINT meter_generators_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_generators_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&),
    CONSTRAINT meter_generators_of_one_meter EXCLUDE USING gist (generator_id WITH =, valid WITH &&)
);
COMMENT ON TABLE meter_generators IS 'Meters of generators, and behind which meter each is (effective-dated)';
COMMENT ON COLUMN meter_generators.meter_generator_id IS 'Row key';
COMMENT ON COLUMN meter_generators.meter_id IS 'The meter of the connection, which is billed';
COMMENT ON COLUMN meter_generators.generator_id IS 'The meter of the generator: what it feeds in is what is generated';
COMMENT ON COLUMN meter_generators.valid IS 'When, half-open';
COMMENT ON COLUMN meter_generators.created_at IS 'When the row was made';
COMMENT ON COLUMN meter_generators.updated_at IS 'When the row changed last';
COMMENT ON INDEX meter_generators_one_at_a_time IS 'A meter has one generator at a time';
COMMENT ON INDEX meter_generators_of_one_meter IS 'A generator is behind one meter at a time';
CREATE OR REPLACE TRIGGER meter_generators_touch BEFORE UPDATE ON meter_generators FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER meter_generators_audit AFTER INSERT OR UPDATE OR DELETE ON meter_generators
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_generator_id');
-- Written by functions alone, which know what was billed.
GRANT SELECT ON meter_generators TO segs_worker, segs_readonly;
