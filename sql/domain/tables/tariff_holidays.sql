-- Holidays come year after year, and documents stay as they are.

CREATE TABLE IF NOT EXISTS tariff_holidays (
    tariff_holiday_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL,
    day date NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tariff_holidays_key UNIQUE (code, day)
);
COMMENT ON TABLE tariff_holidays IS 'Local days that a tariff prices as a weekend, besides those that its document lists';
COMMENT ON COLUMN tariff_holidays.tariff_holiday_id IS 'Row key';
COMMENT ON COLUMN tariff_holidays.code IS 'Code of the tariff';
COMMENT ON COLUMN tariff_holidays.day IS 'The day, local to the tariff''s zone';
COMMENT ON COLUMN tariff_holidays.name IS 'Name for people';
COMMENT ON COLUMN tariff_holidays.created_at IS 'When the row was made';
COMMENT ON INDEX tariff_holidays_key IS 'A day is a holiday once';
CREATE OR REPLACE TRIGGER tariff_holidays_audit AFTER INSERT OR UPDATE OR DELETE ON tariff_holidays
    FOR EACH ROW EXECUTE FUNCTION audit_change('tariff_holiday_id');
-- Written by functions alone, which know what was billed.
GRANT SELECT ON tariff_holidays TO segs_api, segs_worker, segs_readonly;
