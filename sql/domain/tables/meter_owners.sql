-- Whose a meter is, and when: the one place that says it. Infinite ends are written out, so that upper(valid) compares.

CREATE TABLE IF NOT EXISTS meter_owners (
    meter_owner_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    valid tstzrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_owners_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_owners_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS meter_owners_user_idx ON meter_owners (user_id, meter_id);
COMMENT ON TABLE meter_owners IS 'Whose each meter was, is and will be; a person reads what it measured while it was theirs, and nothing else';
COMMENT ON COLUMN meter_owners.meter_owner_id IS 'Row key';
COMMENT ON COLUMN meter_owners.meter_id IS 'The meter';
COMMENT ON COLUMN meter_owners.user_id IS 'Whose it is';
COMMENT ON COLUMN meter_owners.valid IS 'When; -infinity where nobody was before';
COMMENT ON COLUMN meter_owners.created_at IS 'When the row was made';
COMMENT ON COLUMN meter_owners.updated_at IS 'When the row changed last';
COMMENT ON INDEX meter_owners_user_idx IS 'Meters of a person';
CREATE OR REPLACE TRIGGER meter_owners_touch BEFORE UPDATE ON meter_owners FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER meter_owners_audit AFTER INSERT OR UPDATE OR DELETE ON meter_owners
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_owner_id');
CREATE OR REPLACE TRIGGER meter_owners_access_insert AFTER INSERT ON meter_owners REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE OR REPLACE TRIGGER meter_owners_access_update AFTER UPDATE ON meter_owners REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed('meter_id', 'valid');
CREATE OR REPLACE TRIGGER meter_owners_access_delete AFTER DELETE ON meter_owners REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE OR REPLACE TRIGGER meter_owners_access_truncate AFTER TRUNCATE ON meter_owners FOR EACH STATEMENT EXECUTE FUNCTION access_changed_for_all();
-- Written by functions alone: who registers must not get somebody else's meter.
GRANT SELECT ON meter_owners TO segs_api, segs_worker, segs_readonly;
