-- How bills are made: settings, the series of their numbers, which meters of a month are still to be billed, and where
-- letters go.

CREATE TABLE IF NOT EXISTS billing_settings (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    issuer text NOT NULL DEFAULT 'SEGS' CHECK (issuer <> ''),
    payment_days integer NOT NULL DEFAULT 14 CHECK (payment_days BETWEEN 0 AND 365),
    wait_h integer NOT NULL DEFAULT 24 CHECK (wait_h BETWEEN 0 AND 2400),
    finalise text NOT NULL DEFAULT 'auto' CHECK (finalise IN ('auto', 'manual')),
    late_data text NOT NULL DEFAULT 'adjust' CHECK (late_data IN ('adjust', 'replace')),
    recheck_months integer NOT NULL DEFAULT 3 CHECK (recheck_months BETWEEN 0 AND 11),
    bill_failed boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO billing_settings DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE billing_settings IS 'One row: the policy of billing';
COMMENT ON COLUMN billing_settings.only_row IS 'Always true';
COMMENT ON COLUMN billing_settings.issuer IS 'Who bills: name, address, tax number, bank, a line each, as bills show it';
COMMENT ON COLUMN billing_settings.payment_days IS 'Days from the one on which a bill becomes final to the last one to pay it';
COMMENT ON COLUMN billing_settings.wait_h IS 'Hours after the end of a month in which late readings may still come, before it is billed';
COMMENT ON COLUMN billing_settings.finalise IS 'auto: the run makes its drafts final. manual: an operator does';
COMMENT ON COLUMN billing_settings.late_data IS 'What data that came after a bill was final leads to. adjust: a line on the next bill. replace: a credit note and another bill';
COMMENT ON COLUMN billing_settings.recheck_months IS 'How many months back a run looks for such data';
COMMENT ON COLUMN billing_settings.bill_failed IS 'Whether quarter-hours that failed checks (quality 10) are billed';
COMMENT ON COLUMN billing_settings.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER billing_settings_touch BEFORE UPDATE ON billing_settings
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER billing_settings_audit AFTER INSERT OR UPDATE OR DELETE ON billing_settings
    FOR EACH ROW EXECUTE FUNCTION audit_change('only_row');
GRANT SELECT ON billing_settings TO segs_worker, segs_readonly;

-- A row that is locked while a number is given, and no sequence: what is rolled back gives its number back.
CREATE TABLE IF NOT EXISTS invoice_series (
    kind text PRIMARY KEY CHECK (kind IN ('invoice', 'credit_note')),
    prefix text NOT NULL UNIQUE CHECK (prefix ~ '^[A-Z]{1,8}-$'),
    last_number bigint NOT NULL DEFAULT 0 CHECK (last_number >= 0)
);
INSERT INTO invoice_series (kind, prefix) VALUES ('invoice', 'INV-'), ('credit_note', 'CRN-') ON CONFLICT (kind) DO NOTHING;
COMMENT ON TABLE invoice_series IS 'The gap-free series of numbers';
COMMENT ON COLUMN invoice_series.kind IS 'invoice or credit_note';
COMMENT ON COLUMN invoice_series.prefix IS 'What its numbers begin with; ten digits follow';
COMMENT ON COLUMN invoice_series.last_number IS 'The number given last; 0 before the first';
COMMENT ON INDEX invoice_series_prefix_key IS 'Numbers of the two kinds differ';
CREATE OR REPLACE TRIGGER invoice_series_guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_series
    FOR EACH ROW EXECUTE FUNCTION guard_invoice_series();
ALTER TABLE invoice_series ENABLE ALWAYS TRIGGER invoice_series_guard;
GRANT SELECT ON invoice_series TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS billing_work (
    month date NOT NULL CHECK (EXTRACT(day FROM month) = 1),
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'drafted', 'done', 'blocked')),
    findings jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(findings) = 'array'),
    tried_at timestamptz,
    PRIMARY KEY (month, meter_id),
    CONSTRAINT billing_work_blocked_for_a_reason CHECK (state <> 'blocked' OR findings <> '[]')
);
COMMENT ON TABLE billing_work IS 'Meters of a month that are to be billed: any number of runs take rows of it, each in the transaction that bills it';
COMMENT ON COLUMN billing_work.month IS 'First day of the month';
COMMENT ON COLUMN billing_work.meter_id IS 'The meter';
COMMENT ON COLUMN billing_work.state IS 'pending, drafted (waits to be made final), done, or blocked (findings say why)';
COMMENT ON COLUMN billing_work.findings IS 'What could not be billed and why, and what else was noticed: objects with reason, from, to, text';
COMMENT ON COLUMN billing_work.tried_at IS 'When a run took it last';
GRANT SELECT ON billing_work TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS billing_addresses (
    user_id integer PRIMARY KEY REFERENCES users ON DELETE RESTRICT,
    name text CHECK (name <> '' AND length(name) <= 200),
    address text CHECK (address <> '' AND length(address) <= 1000),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT billing_addresses_say_something CHECK (num_nonnulls(name, address) > 0)
);
COMMENT ON TABLE billing_addresses IS 'Where a customer''s bills go; of who left, if an operator says it, until the next bill is final';
COMMENT ON COLUMN billing_addresses.user_id IS 'The customer';
COMMENT ON COLUMN billing_addresses.name IS 'Name on bills; NULL for the account''s';
COMMENT ON COLUMN billing_addresses.address IS 'Postal address, a line each';
COMMENT ON COLUMN billing_addresses.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER billing_addresses_touch BEFORE UPDATE ON billing_addresses
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER billing_addresses_audit AFTER INSERT OR UPDATE OR DELETE ON billing_addresses
    FOR EACH ROW EXECUTE FUNCTION audit_change('user_id', 'name', 'address');
CREATE OR REPLACE TRIGGER billing_addresses_forget AFTER INSERT OR UPDATE ON billing_addresses
    FOR EACH ROW EXECUTE FUNCTION forget_who_left();
