-- Bills get series of numbers, a ledger that settles them, disputes, and a list of meters that are still to be billed. No
-- release before made a bill final; one that somebody put in by hand has neither a place in a series nor postings.

DO $$
BEGIN
    IF EXISTS (SELECT FROM invoices WHERE status <> 'draft') OR EXISTS (SELECT FROM payment_transactions) THEN
        RAISE EXCEPTION 'there are bills that no release made, or payments: they have no ledger'
            USING HINT = 'Export them and take them out, with the triggers of invoices disabled; then apply again.';
    END IF;
END
$$;

ALTER TABLE invoices
    ADD COLUMN serial_number bigint CHECK (serial_number >= 1),
    ADD COLUMN span tstzrange,
    ADD COLUMN paid_amount numeric(16, 4) NOT NULL DEFAULT 0,
    ADD COLUMN credited_amount numeric(16, 4) NOT NULL DEFAULT 0,
    ADD COLUMN open_amount numeric(16, 4) NOT NULL GENERATED ALWAYS AS (net_amount + tax_amount - paid_amount - credited_amount) STORED,
    ADD COLUMN energy_import_wh bigint,
    ADD COLUMN energy_export_wh bigint,
    ADD COLUMN intervals_version bigint,
    ADD COLUMN peak_kw numeric(18, 6),
    ADD COLUMN recipient_name text CHECK (recipient_name <> ''),
    ADD COLUMN recipient_address text CHECK (recipient_address <> ''),
    ADD COLUMN issuer text CHECK (issuer <> ''),
    ADD COLUMN language text,
    ADD COLUMN made_by text CHECK (made_by <> ''),
    ADD COLUMN reason text CHECK (reason <> ''),
    ADD COLUMN overdue_at timestamptz CONSTRAINT invoices_overdue_after_final CHECK (overdue_at >= finalised_at),
    ADD CONSTRAINT invoices_serial_key UNIQUE (kind, serial_number),
    ADD CONSTRAINT invoices_serial_from_final_on CHECK ((status = 'draft') = (serial_number IS NULL)),
    ADD CONSTRAINT invoices_span_is_half_open CHECK (NOT isempty(span) AND isfinite(lower(span)) AND isfinite(upper(span)) AND lower_inc(span) AND NOT upper_inc(span)),
    ADD CONSTRAINT invoices_final_is_complete CHECK (status = 'draft' OR num_nonnulls(span, recipient_name, issuer, language, made_by) = 5),
    ADD CONSTRAINT invoices_draft_is_unsettled CHECK (status <> 'draft' OR (paid_amount = 0 AND credited_amount = 0)),
    ADD CONSTRAINT invoices_never_more_than_settled CHECK (status = 'draft' OR open_amount >= 0),
    ADD CONSTRAINT invoices_paid_is_settled CHECK (status <> 'paid' OR open_amount = 0),
    ADD CONSTRAINT invoices_open_is_not_settled CHECK (kind = 'credit_note' OR status NOT IN ('final', 'overdue') OR open_amount > 0),
    ADD CONSTRAINT invoices_cancelled_is_credited CHECK (status <> 'cancelled' OR (paid_amount = 0 AND credited_amount = net_amount + tax_amount)),
    ADD CONSTRAINT invoices_overdue_with_time CHECK (status <> 'overdue' OR overdue_at IS NOT NULL),
    ADD CONSTRAINT invoices_credit_note_takes_back CHECK ( kind = 'invoice' OR (status IN ('draft', 'final') AND reason IS NOT NULL AND (status = 'draft' OR (paid_amount = 0 AND credited_amount = net_amount + tax_amount))));
DROP INDEX invoices_due_idx;
CREATE INDEX invoices_due_idx ON invoices (due_date) WHERE status = 'final' AND kind = 'invoice';

ALTER TABLE invoice_line_items
    DROP CONSTRAINT invoice_line_items_component_check,
    DROP CONSTRAINT invoice_line_items_priced_by_tariff,
    ADD CONSTRAINT invoice_line_items_component_check
        CHECK (component IN ('energy', 'demand_flat', 'demand_tou', 'fixed', 'minimum', 'baseline', 'export', 'power_factor', 'adjustment',
                             'rounding', 'tax')),
    ADD CONSTRAINT invoice_line_items_priced_by_tariff CHECK (component IN ('adjustment', 'rounding', 'tax') OR tariff_id IS NOT NULL);

ALTER TABLE payment_transactions
    ADD COLUMN actor text CHECK (actor <> ''),
    ADD COLUMN method text CHECK (method ~ '^[a-z][a-z0-9_]{0,62}$'),
    DROP CONSTRAINT payment_transactions_manual_is_recorded_by_somebody,
    ADD CONSTRAINT payment_transactions_manual_is_recorded_by_somebody CHECK (provider <> 'manual' OR num_nonnulls(recorded_by, actor) > 0);

CREATE TABLE invoice_days (
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    day date NOT NULL,
    energy_import_wh bigint NOT NULL,
    energy_export_wh bigint NOT NULL,
    estimated boolean NOT NULL,
    PRIMARY KEY (invoice_id, day)
);

CREATE TABLE invoice_banks (
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    period smallint CHECK (period >= 0),
    kwh numeric(18, 6) NOT NULL CHECK (kwh >= 0),
    CONSTRAINT invoice_banks_key UNIQUE NULLS NOT DISTINCT (invoice_id, period)
);

CREATE TABLE payment_events (
    provider text NOT NULL,
    event_id text NOT NULL CHECK (event_id <> '' AND length(event_id) <= 200),
    message_sha256 text NOT NULL CHECK (message_sha256 ~ '^[0-9a-f]{64}$'),
    payment_id bigint REFERENCES payment_transactions ON DELETE RESTRICT,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, event_id)
);

CREATE TABLE billing_settings (
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

CREATE TABLE invoice_series (
    kind text PRIMARY KEY CHECK (kind IN ('invoice', 'credit_note')),
    prefix text NOT NULL UNIQUE CHECK (prefix ~ '^[A-Z]{1,8}-$'),
    last_number bigint NOT NULL DEFAULT 0 CHECK (last_number >= 0)
);

CREATE TABLE billing_work (
    month date NOT NULL CHECK (EXTRACT(day FROM month) = 1),
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'drafted', 'done', 'blocked')),
    findings jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(findings) = 'array'),
    tried_at timestamptz,
    PRIMARY KEY (month, meter_id),
    CONSTRAINT billing_work_blocked_for_a_reason CHECK (state <> 'blocked' OR findings <> '[]')
);

CREATE TABLE billing_addresses (
    user_id integer PRIMARY KEY REFERENCES users ON DELETE RESTRICT,
    name text CHECK (name <> '' AND length(name) <= 200),
    address text CHECK (address <> '' AND length(address) <= 1000),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT billing_addresses_say_something CHECK (num_nonnulls(name, address) > 0)
);

CREATE TABLE invoice_disputes (
    dispute_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE RESTRICT,
    reason text NOT NULL CHECK (reason <> '' AND length(reason) <= 2000),
    opened_by text NOT NULL CHECK (opened_by <> ''),
    opened_at timestamptz NOT NULL,
    outcome text CHECK (outcome IN ('upheld', 'rejected')),
    resolution text CHECK (resolution <> '' AND length(resolution) <= 2000),
    resolved_by text CHECK (resolved_by <> ''),
    resolved_at timestamptz CHECK (resolved_at >= opened_at),
    credit_note_id bigint REFERENCES invoices ON DELETE RESTRICT,
    CONSTRAINT invoice_disputes_resolved_by_somebody_for_a_reason
        CHECK (num_nonnulls(outcome, resolution, resolved_by, resolved_at) IN (0, 4)),
    CONSTRAINT invoice_disputes_upheld_by_credit_note CHECK ((outcome IS NOT DISTINCT FROM 'upheld') = (credit_note_id IS NOT NULL))
);

CREATE UNIQUE INDEX invoice_disputes_open_key ON invoice_disputes (invoice_id) WHERE outcome IS NULL;

CREATE INDEX invoice_disputes_invoice_idx ON invoice_disputes (invoice_id);

CREATE TABLE invoice_corrections (
    correction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE RESTRICT,
    intervals_version bigint,
    net_amount numeric(16, 4) NOT NULL,
    tax_amount numeric(16, 4) NOT NULL,
    on_invoice_id bigint REFERENCES invoices ON DELETE SET NULL,
    found_at timestamptz NOT NULL
);
CREATE INDEX invoice_corrections_invoice_idx ON invoice_corrections (invoice_id);
CREATE INDEX invoice_corrections_on_invoice_idx ON invoice_corrections (on_invoice_id) WHERE on_invoice_id IS NOT NULL;

CREATE TABLE ledger_postings (
    posting_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('invoice', 'payment', 'reversal', 'credit_note', 'release', 'balance', 'refund')),
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    invoice_id bigint REFERENCES invoices ON DELETE RESTRICT,
    credit_note_id bigint REFERENCES invoices ON DELETE RESTRICT,
    payment_id bigint REFERENCES payment_transactions ON DELETE RESTRICT,
    posted_by text NOT NULL CHECK (posted_by <> ''),
    posted_at timestamptz NOT NULL,
    CONSTRAINT ledger_postings_bill_has_invoice CHECK (kind = 'refund' OR invoice_id IS NOT NULL),
    CONSTRAINT ledger_postings_credit_note_is_named CHECK ((kind = 'credit_note') = (credit_note_id IS NOT NULL)),
    CONSTRAINT ledger_postings_money_is_named CHECK ((kind IN ('payment', 'reversal', 'refund')) = (payment_id IS NOT NULL))
);

CREATE UNIQUE INDEX ledger_postings_invoice_key ON ledger_postings (invoice_id) WHERE kind = 'invoice';

CREATE UNIQUE INDEX ledger_postings_credit_note_key ON ledger_postings (credit_note_id) WHERE credit_note_id IS NOT NULL;

CREATE UNIQUE INDEX ledger_postings_payment_key ON ledger_postings (payment_id, kind) WHERE payment_id IS NOT NULL;

CREATE INDEX ledger_postings_invoice_idx ON ledger_postings (invoice_id);

CREATE INDEX ledger_postings_user_idx ON ledger_postings (user_id, posting_id);

CREATE TABLE ledger_entries (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posting_id bigint NOT NULL REFERENCES ledger_postings ON DELETE RESTRICT,
    account text NOT NULL CHECK (account IN ('receivable', 'revenue', 'cash', 'balance')),
    amount numeric(16, 4) NOT NULL CHECK (amount <> 0),
    CONSTRAINT ledger_entries_key UNIQUE (posting_id, account)
);

CREATE TABLE credit_balances (
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric(16, 4) NOT NULL DEFAULT 0 CONSTRAINT credit_balances_never_below_zero CHECK (amount >= 0),
    PRIMARY KEY (user_id, currency)
);

ALTER TABLE invoice_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_banks ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_series ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_work ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_disputes ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_corrections ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_postings ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_balances ENABLE ROW LEVEL SECURITY;

-- Bills and payments are written by functions alone from now on.
REVOKE ALL ON invoices, invoice_line_items, payment_transactions FROM segs_api, segs_worker;
REVOKE UPDATE (status, paid_at, cancelled_at) ON invoices FROM segs_api;
REVOKE UPDATE (status, settled_at) ON payment_transactions FROM segs_api, segs_worker;
DROP POLICY IF EXISTS invoices_changed ON invoices;
DROP POLICY IF EXISTS payment_transactions_made ON payment_transactions;
DROP POLICY IF EXISTS payment_transactions_changed ON payment_transactions;
