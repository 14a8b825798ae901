-- Bills. A draft may change; from final on nothing but its settlement does, and it outlives its user's account. What is
-- settled is the ledger's word: no role, the owner included, makes a bill paid or cancelled by hand.

CREATE TABLE IF NOT EXISTS invoices (
    invoice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL DEFAULT 'invoice' CHECK (kind IN ('invoice', 'credit_note')),
    invoice_number text UNIQUE CHECK (invoice_number <> ''),
    serial_number bigint CHECK (serial_number >= 1),
    credits_invoice_id bigint REFERENCES invoices ON DELETE RESTRICT,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    period_start date NOT NULL,
    period_end date NOT NULL CHECK (period_end > period_start),
    timezone text NOT NULL CONSTRAINT invoices_timezone_is_known CHECK (is_timezone(timezone)),
    span tstzrange,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'final', 'paid', 'overdue', 'disputed', 'cancelled')),
    net_amount numeric(16, 4) NOT NULL,
    tax_amount numeric(16, 4) NOT NULL,
    total_amount numeric(16, 4) NOT NULL GENERATED ALWAYS AS (net_amount + tax_amount) STORED,
    paid_amount numeric(16, 4) NOT NULL DEFAULT 0,
    credited_amount numeric(16, 4) NOT NULL DEFAULT 0,
    open_amount numeric(16, 4) NOT NULL GENERATED ALWAYS AS (net_amount + tax_amount - paid_amount - credited_amount) STORED,
    energy_import_wh bigint,
    energy_export_wh bigint,
    intervals_version bigint,
    peak_kw numeric(18, 6),
    recipient_name text CHECK (recipient_name <> ''),
    recipient_address text CHECK (recipient_address <> ''),
    issuer text CHECK (issuer <> ''),
    language text,
    made_by text CHECK (made_by <> ''),
    reason text CHECK (reason <> ''),
    finalised_at timestamptz,
    due_date date CHECK (due_date >= period_end),
    paid_at timestamptz CHECK (paid_at >= finalised_at),
    overdue_at timestamptz CONSTRAINT invoices_overdue_after_final CHECK (overdue_at >= finalised_at),
    cancelled_at timestamptz CHECK (cancelled_at >= finalised_at),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT invoices_serial_key UNIQUE (kind, serial_number),
    CONSTRAINT invoices_number_from_final_on CHECK ((status = 'draft') = (invoice_number IS NULL)),
    CONSTRAINT invoices_serial_from_final_on CHECK ((status = 'draft') = (serial_number IS NULL)),
    CONSTRAINT invoices_span_is_half_open
        CHECK (NOT isempty(span) AND isfinite(lower(span)) AND isfinite(upper(span)) AND lower_inc(span) AND NOT upper_inc(span)),
    CONSTRAINT invoices_final_is_complete
        CHECK (status = 'draft' OR num_nonnulls(span, recipient_name, issuer, language, made_by) = 5),
    CONSTRAINT invoices_draft_is_unsettled CHECK (status <> 'draft' OR (paid_amount = 0 AND credited_amount = 0)),
    CONSTRAINT invoices_never_more_than_settled CHECK (status = 'draft' OR open_amount >= 0),
    CONSTRAINT invoices_paid_is_settled CHECK (status <> 'paid' OR open_amount = 0),
    CONSTRAINT invoices_open_is_not_settled CHECK (kind = 'credit_note' OR status NOT IN ('final', 'overdue') OR open_amount > 0),
    CONSTRAINT invoices_cancelled_is_credited
        CHECK (status <> 'cancelled' OR (paid_amount = 0 AND credited_amount = net_amount + tax_amount)),
    CONSTRAINT invoices_overdue_with_time CHECK (status <> 'overdue' OR overdue_at IS NOT NULL),
    CONSTRAINT invoices_credit_note_takes_back CHECK (
        kind = 'invoice' OR (status IN ('draft', 'final') AND reason IS NOT NULL
                             AND (status = 'draft' OR (paid_amount = 0 AND credited_amount = net_amount + tax_amount)))),
    CONSTRAINT invoices_final_with_time CHECK ((status = 'draft') = (finalised_at IS NULL)),
    CONSTRAINT invoices_final_with_due_date CHECK (status = 'draft' OR due_date IS NOT NULL),
    CONSTRAINT invoices_paid_with_time CHECK (status <> 'paid' OR paid_at IS NOT NULL),
    CONSTRAINT invoices_cancelled_with_time CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
    CONSTRAINT invoices_credit_note_names_invoice CHECK ((kind = 'credit_note') = (credits_invoice_id IS NOT NULL)),
    CONSTRAINT invoices_one_per_meter_and_period
        EXCLUDE USING gist (meter_id WITH =, daterange(period_start, period_end) WITH &&)
        WHERE (kind = 'invoice' AND status <> 'cancelled')
);
CREATE INDEX IF NOT EXISTS invoices_user_idx ON invoices (user_id, period_start);
CREATE INDEX IF NOT EXISTS invoices_due_idx ON invoices (due_date) WHERE status = 'final' AND kind = 'invoice';
CREATE INDEX IF NOT EXISTS invoices_credits_idx ON invoices (credits_invoice_id) WHERE credits_invoice_id IS NOT NULL;
COMMENT ON TABLE invoices IS 'Invoices and credit notes: one invoice per meter and local period unless it was cancelled';
COMMENT ON COLUMN invoices.invoice_id IS 'Row key';
COMMENT ON COLUMN invoices.kind IS 'invoice or credit_note';
COMMENT ON COLUMN invoices.invoice_number IS 'Number from the gap-free series of its kind, given when it becomes final; drafts have none';
COMMENT ON COLUMN invoices.serial_number IS 'Place in the series of its kind, from 1, without gaps';
COMMENT ON COLUMN invoices.credits_invoice_id IS 'The invoice that a credit note takes back';
COMMENT ON COLUMN invoices.meter_id IS 'The meter billed';
COMMENT ON COLUMN invoices.user_id IS 'The customer billed';
COMMENT ON COLUMN invoices.period_start IS 'First local day of the period';
COMMENT ON COLUMN invoices.period_end IS 'First local day after the period';
COMMENT ON COLUMN invoices.timezone IS 'IANA zone in which the period''s days begin';
COMMENT ON COLUMN invoices.span IS 'The instants of the period, half-open: where one ends the next begins';
COMMENT ON COLUMN invoices.currency IS 'ISO 4217 code of all amounts';
COMMENT ON COLUMN invoices.status IS 'draft, final, paid, overdue, disputed or cancelled (by a credit note)';
COMMENT ON COLUMN invoices.net_amount IS 'Sum of the lines without taxes, in currency';
COMMENT ON COLUMN invoices.tax_amount IS 'Sum of the tax lines, in currency';
COMMENT ON COLUMN invoices.total_amount IS 'net_amount + tax_amount, in currency';
COMMENT ON COLUMN invoices.paid_amount IS 'What payments and credit of the customer settled, in currency; a bill below 0 is paid to the customer''s credit';
COMMENT ON COLUMN invoices.credited_amount IS 'What credit notes took back, in currency; of a credit note its own total';
COMMENT ON COLUMN invoices.open_amount IS 'total_amount - paid_amount - credited_amount, in currency';
COMMENT ON COLUMN invoices.energy_import_wh IS 'Energy taken in the period, Wh';
COMMENT ON COLUMN invoices.energy_export_wh IS 'Energy fed in in the period, Wh';
COMMENT ON COLUMN invoices.intervals_version IS 'Sum of the versions of the period''s quarter-hours when it was made: another one says that data came late';
COMMENT ON COLUMN invoices.peak_kw IS 'Highest demand of the period, kW, for a ratchet to look back at';
COMMENT ON COLUMN invoices.recipient_name IS 'Name of the customer when it became final; kept when the account is deleted, as the law wants';
COMMENT ON COLUMN invoices.recipient_address IS 'Address of the customer when it became final; kept likewise';
COMMENT ON COLUMN invoices.issuer IS 'Who bills, as billing_settings had it when it became final: name, address, tax number, a line each';
COMMENT ON COLUMN invoices.language IS 'Language of the document';
COMMENT ON COLUMN invoices.made_by IS 'Who made it final, as the audit log names them';
COMMENT ON COLUMN invoices.reason IS 'Why; every credit note says';
COMMENT ON COLUMN invoices.finalised_at IS 'When it became final';
COMMENT ON COLUMN invoices.due_date IS 'Last day to pay, local to timezone';
COMMENT ON COLUMN invoices.paid_at IS 'When it was paid in full';
COMMENT ON COLUMN invoices.overdue_at IS 'Since when it is known to be overdue; NULL again once it is not';
COMMENT ON COLUMN invoices.cancelled_at IS 'When a credit note took it back';
COMMENT ON COLUMN invoices.created_at IS 'When the row was made';
COMMENT ON COLUMN invoices.updated_at IS 'When the row changed last';
COMMENT ON INDEX invoices_one_per_meter_and_period IS 'No day of a meter is billed twice';
COMMENT ON INDEX invoices_serial_key IS 'No number is given twice';
COMMENT ON INDEX invoices_user_idx IS 'A customer''s bills';
COMMENT ON INDEX invoices_due_idx IS 'What becomes overdue';
COMMENT ON INDEX invoices_credits_idx IS 'Credit notes of an invoice';
CREATE OR REPLACE TRIGGER invoices_guard BEFORE INSERT OR UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION guard_invoice();
CREATE OR REPLACE TRIGGER invoices_stay BEFORE TRUNCATE ON invoices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_bill_removal();
CREATE OR REPLACE TRIGGER invoices_touch BEFORE UPDATE ON invoices
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at('total_amount', 'open_amount');
CREATE OR REPLACE TRIGGER invoices_audit AFTER INSERT OR UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION audit_change('invoice_id', 'recipient_name', 'recipient_address');
-- By their names triggers come one after another.
CREATE OR REPLACE TRIGGER invoices_forget AFTER INSERT OR UPDATE ON invoices
    FOR EACH ROW EXECUTE FUNCTION forget_who_left();
-- Always: also for who says that the session only replays what another server did.
ALTER TABLE invoices ENABLE ALWAYS TRIGGER invoices_guard, ENABLE ALWAYS TRIGGER invoices_stay;
-- Written by functions alone.
GRANT SELECT ON invoices TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS invoice_line_items (
    line_item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    position smallint NOT NULL CHECK (position >= 1),
    component text NOT NULL CHECK (component IN ('energy', 'demand_flat', 'demand_tou', 'fixed', 'minimum', 'baseline', 'export',
                                                 'power_factor', 'adjustment', 'rounding', 'tax')),
    description text NOT NULL CHECK (description <> ''),
    tariff_id integer REFERENCES tariffs ON DELETE RESTRICT,
    period smallint CHECK (period >= 0),
    tier smallint CHECK (tier >= 0),
    span tstzrange,
    quantity numeric(18, 6) NOT NULL,
    unit text NOT NULL CHECK (unit <> ''),
    unit_price numeric(18, 8) NOT NULL,
    amount numeric(16, 4) NOT NULL,
    quality smallint CHECK (quality IN (0, 7, 8, 9, 10, 14, 17, 18, 19)),
    intervals_version bigint CHECK (intervals_version >= 1),
    estimated boolean NOT NULL DEFAULT false,
    CONSTRAINT invoice_line_items_position_key UNIQUE (invoice_id, position),
    CONSTRAINT invoice_line_items_priced_by_tariff
        CHECK (component IN ('adjustment', 'rounding', 'tax') OR tariff_id IS NOT NULL),
    CONSTRAINT invoice_line_items_energy_is_traced
        CHECK (component <> 'energy' OR (span IS NOT NULL AND quality IS NOT NULL AND intervals_version IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS invoice_line_items_tariff_idx ON invoice_line_items (tariff_id) WHERE tariff_id IS NOT NULL;
COMMENT ON TABLE invoice_line_items IS 'Lines of an invoice, each with what it was computed from';
COMMENT ON COLUMN invoice_line_items.line_item_id IS 'Row key';
COMMENT ON COLUMN invoice_line_items.invoice_id IS 'The invoice; its lines go with a deleted draft';
COMMENT ON COLUMN invoice_line_items.position IS 'Place on the bill, from 1';
COMMENT ON COLUMN invoice_line_items.component IS 'What is charged or credited';
COMMENT ON COLUMN invoice_line_items.description IS 'Text on the bill';
COMMENT ON COLUMN invoice_line_items.tariff_id IS 'Tariff row that priced it';
COMMENT ON COLUMN invoice_line_items.period IS 'Period of the tariff, from 0';
COMMENT ON COLUMN invoice_line_items.tier IS 'Tier of the period, from 0';
COMMENT ON COLUMN invoice_line_items.span IS 'Span of the intervals priced, half-open';
COMMENT ON COLUMN invoice_line_items.quantity IS 'How much, in unit';
COMMENT ON COLUMN invoice_line_items.unit IS 'Unit of quantity: kWh, kW, day, month, percent';
COMMENT ON COLUMN invoice_line_items.unit_price IS 'Price of one unit, in the invoice''s currency';
COMMENT ON COLUMN invoice_line_items.amount IS 'What the line adds to the bill, in the invoice''s currency; credits are negative';
COMMENT ON COLUMN invoice_line_items.quality IS 'Worst ESPI QualityOfReading of the intervals behind it';
COMMENT ON COLUMN invoice_line_items.intervals_version IS 'Version of the intervals it was priced from';
COMMENT ON COLUMN invoice_line_items.estimated IS 'Whether part of the quantity is estimated';
COMMENT ON INDEX invoice_line_items_position_key IS 'One line per place';
COMMENT ON INDEX invoice_line_items_tariff_idx IS 'Whether a tariff was billed by';
CREATE OR REPLACE TRIGGER invoice_line_items_guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_line_items
    FOR EACH ROW EXECUTE FUNCTION guard_invoice_line();
CREATE OR REPLACE TRIGGER invoice_line_items_stay BEFORE TRUNCATE ON invoice_line_items
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_bill_removal();
CREATE OR REPLACE TRIGGER invoice_line_items_audit AFTER INSERT OR UPDATE OR DELETE ON invoice_line_items
    FOR EACH ROW EXECUTE FUNCTION audit_change('line_item_id');
ALTER TABLE invoice_line_items ENABLE ALWAYS TRIGGER invoice_line_items_guard, ENABLE ALWAYS TRIGGER invoice_line_items_stay;
GRANT SELECT ON invoice_line_items TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS invoice_days (
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    day date NOT NULL,
    energy_import_wh bigint NOT NULL,
    energy_export_wh bigint NOT NULL,
    estimated boolean NOT NULL,
    PRIMARY KEY (invoice_id, day)
);
COMMENT ON TABLE invoice_days IS 'Use of each local day as it was billed: retention takes the quarter-hours, never what a bill shows';
COMMENT ON COLUMN invoice_days.invoice_id IS 'The invoice';
COMMENT ON COLUMN invoice_days.day IS 'Local day';
COMMENT ON COLUMN invoice_days.energy_import_wh IS 'Energy taken, Wh';
COMMENT ON COLUMN invoice_days.energy_export_wh IS 'Energy fed in, Wh';
COMMENT ON COLUMN invoice_days.estimated IS 'Whether part of it is estimated';
CREATE OR REPLACE TRIGGER invoice_days_guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_days
    FOR EACH ROW EXECUTE FUNCTION guard_invoice_line();
CREATE OR REPLACE TRIGGER invoice_days_stay BEFORE TRUNCATE ON invoice_days
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_bill_removal();
ALTER TABLE invoice_days ENABLE ALWAYS TRIGGER invoice_days_guard, ENABLE ALWAYS TRIGGER invoice_days_stay;
GRANT SELECT ON invoice_days TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS invoice_banks (
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    period smallint CHECK (period >= 0),
    kwh numeric(18, 6) NOT NULL CHECK (kwh >= 0),
    CONSTRAINT invoice_banks_key UNIQUE NULLS NOT DISTINCT (invoice_id, period)
);
COMMENT ON TABLE invoice_banks IS 'What net metering has banked at the end of a bill, for the next one to begin with';
COMMENT ON COLUMN invoice_banks.invoice_id IS 'The invoice';
COMMENT ON COLUMN invoice_banks.period IS 'Period of the tariff; NULL for all together';
COMMENT ON COLUMN invoice_banks.kwh IS 'Energy in the bank, kWh';
COMMENT ON INDEX invoice_banks_key IS 'One bank per period';
CREATE OR REPLACE TRIGGER invoice_banks_guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_banks
    FOR EACH ROW EXECUTE FUNCTION guard_invoice_line();
ALTER TABLE invoice_banks ENABLE ALWAYS TRIGGER invoice_banks_guard;
GRANT SELECT ON invoice_banks TO segs_api, segs_worker, segs_readonly;
