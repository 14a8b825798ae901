-- Bills. A draft may change; from final on nothing but its settlement does, and it outlives its user's account.

CREATE TABLE IF NOT EXISTS invoices (
    invoice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL DEFAULT 'invoice' CHECK (kind IN ('invoice', 'credit_note')),
    invoice_number text UNIQUE CHECK (invoice_number <> ''),
    credits_invoice_id bigint REFERENCES invoices ON DELETE RESTRICT,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    period_start date NOT NULL,
    period_end date NOT NULL CHECK (period_end > period_start),
    timezone text NOT NULL CONSTRAINT invoices_timezone_is_known CHECK (is_timezone(timezone)),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'final', 'paid', 'overdue', 'disputed', 'cancelled')),
    net_amount numeric(16, 4) NOT NULL,
    tax_amount numeric(16, 4) NOT NULL,
    total_amount numeric(16, 4) NOT NULL GENERATED ALWAYS AS (net_amount + tax_amount) STORED,
    finalised_at timestamptz,
    due_date date CHECK (due_date >= period_end),
    paid_at timestamptz CHECK (paid_at >= finalised_at),
    cancelled_at timestamptz CHECK (cancelled_at >= finalised_at),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT invoices_number_from_final_on CHECK ((status = 'draft') = (invoice_number IS NULL)),
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
CREATE INDEX IF NOT EXISTS invoices_due_idx ON invoices (due_date) WHERE status = 'final';
CREATE INDEX IF NOT EXISTS invoices_credits_idx ON invoices (credits_invoice_id) WHERE credits_invoice_id IS NOT NULL;
COMMENT ON TABLE invoices IS 'Invoices and credit notes: one invoice per meter and local period unless it was cancelled';
COMMENT ON COLUMN invoices.invoice_id IS 'Row key';
COMMENT ON COLUMN invoices.kind IS 'invoice or credit_note';
COMMENT ON COLUMN invoices.invoice_number IS 'Number from the gap-free series of its kind, given when it becomes final; drafts have none';
COMMENT ON COLUMN invoices.credits_invoice_id IS 'The invoice that a credit note takes back';
COMMENT ON COLUMN invoices.meter_id IS 'The meter billed';
COMMENT ON COLUMN invoices.user_id IS 'The customer billed';
COMMENT ON COLUMN invoices.period_start IS 'First local day of the period';
COMMENT ON COLUMN invoices.period_end IS 'First local day after the period';
COMMENT ON COLUMN invoices.timezone IS 'IANA zone in which the period''s days begin';
COMMENT ON COLUMN invoices.currency IS 'ISO 4217 code of all amounts';
COMMENT ON COLUMN invoices.status IS 'draft, final, paid, overdue, disputed or cancelled (by a credit note)';
COMMENT ON COLUMN invoices.net_amount IS 'Sum of the lines without taxes, in currency';
COMMENT ON COLUMN invoices.tax_amount IS 'Sum of the tax lines, in currency';
COMMENT ON COLUMN invoices.total_amount IS 'net_amount + tax_amount, in currency';
COMMENT ON COLUMN invoices.finalised_at IS 'When it became final';
COMMENT ON COLUMN invoices.due_date IS 'Last day to pay, local to timezone';
COMMENT ON COLUMN invoices.paid_at IS 'When it was paid in full';
COMMENT ON COLUMN invoices.cancelled_at IS 'When a credit note took it back';
COMMENT ON COLUMN invoices.created_at IS 'When the row was made';
COMMENT ON COLUMN invoices.updated_at IS 'When the row changed last';
COMMENT ON INDEX invoices_one_per_meter_and_period IS 'No day of a meter is billed twice';
COMMENT ON INDEX invoices_user_idx IS 'A customer''s bills';
COMMENT ON INDEX invoices_due_idx IS 'What becomes overdue';
COMMENT ON INDEX invoices_credits_idx IS 'Credit notes of an invoice';
CREATE OR REPLACE TRIGGER invoices_guard BEFORE UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION guard_invoice();
CREATE OR REPLACE TRIGGER invoices_touch BEFORE UPDATE ON invoices
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at('total_amount');
CREATE OR REPLACE TRIGGER invoices_audit AFTER INSERT OR UPDATE OR DELETE ON invoices
    FOR EACH ROW EXECUTE FUNCTION audit_change('invoice_id');
GRANT SELECT, UPDATE (status, paid_at, cancelled_at) ON invoices TO segs_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON invoices TO segs_worker;
GRANT SELECT ON invoices TO segs_readonly;

CREATE TABLE IF NOT EXISTS invoice_line_items (
    line_item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    position smallint NOT NULL CHECK (position >= 1),
    component text NOT NULL CHECK (component IN ('energy', 'demand_flat', 'demand_tou', 'fixed', 'minimum', 'baseline', 'export',
                                                 'power_factor', 'adjustment', 'tax')),
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
        CHECK (component IN ('adjustment', 'tax') OR tariff_id IS NOT NULL),
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
CREATE OR REPLACE TRIGGER invoice_line_items_audit AFTER INSERT OR UPDATE OR DELETE ON invoice_line_items
    FOR EACH ROW EXECUTE FUNCTION audit_change('line_item_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON invoice_line_items TO segs_worker;
GRANT SELECT ON invoice_line_items TO segs_api, segs_readonly;
