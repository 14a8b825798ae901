-- Double entry: a posting's entries add up to 0, and nothing of it ever changes. What bills say of their settlement, and what
-- customers have to their credit, is held against it when a transaction ends.

CREATE TABLE IF NOT EXISTS ledger_postings (
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
CREATE UNIQUE INDEX IF NOT EXISTS ledger_postings_invoice_key ON ledger_postings (invoice_id) WHERE kind = 'invoice';
CREATE UNIQUE INDEX IF NOT EXISTS ledger_postings_credit_note_key ON ledger_postings (credit_note_id) WHERE credit_note_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS ledger_postings_payment_key ON ledger_postings (payment_id, kind) WHERE payment_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS ledger_postings_invoice_idx ON ledger_postings (invoice_id);
CREATE INDEX IF NOT EXISTS ledger_postings_user_idx ON ledger_postings (user_id, posting_id);
COMMENT ON TABLE ledger_postings IS 'What happened to bills and money, in order';
COMMENT ON COLUMN ledger_postings.posting_id IS 'Order of posting';
COMMENT ON COLUMN ledger_postings.kind IS 'invoice and credit_note became final; payment came, reversal took it back; release of what was paid too much, balance of credit used for a bill, refund of credit';
COMMENT ON COLUMN ledger_postings.user_id IS 'The customer';
COMMENT ON COLUMN ledger_postings.currency IS 'ISO 4217 code of the entries';
COMMENT ON COLUMN ledger_postings.invoice_id IS 'The bill; for a credit note the one that it takes back';
COMMENT ON COLUMN ledger_postings.credit_note_id IS 'The credit note';
COMMENT ON COLUMN ledger_postings.payment_id IS 'The money';
COMMENT ON COLUMN ledger_postings.posted_by IS 'Who did it, as the audit log names them';
COMMENT ON COLUMN ledger_postings.posted_at IS 'When';
COMMENT ON INDEX ledger_postings_invoice_key IS 'A bill is posted once';
COMMENT ON INDEX ledger_postings_credit_note_key IS 'A credit note is posted once';
COMMENT ON INDEX ledger_postings_payment_key IS 'Money is posted once, and taken back once';
COMMENT ON INDEX ledger_postings_invoice_idx IS 'What happened to a bill';
COMMENT ON INDEX ledger_postings_user_idx IS 'What happened to a customer''s account';

CREATE TABLE IF NOT EXISTS ledger_entries (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posting_id bigint NOT NULL REFERENCES ledger_postings ON DELETE RESTRICT,
    account text NOT NULL CHECK (account IN ('receivable', 'revenue', 'cash', 'balance')),
    amount numeric(16, 4) NOT NULL CHECK (amount <> 0),
    CONSTRAINT ledger_entries_key UNIQUE (posting_id, account)
);
COMMENT ON TABLE ledger_entries IS 'The entries of a posting: debit above 0, credit below';
COMMENT ON COLUMN ledger_entries.entry_id IS 'Row key';
COMMENT ON COLUMN ledger_entries.posting_id IS 'The posting, whose entries add up to 0';
COMMENT ON COLUMN ledger_entries.account IS 'receivable of the bill, revenue, cash, or balance: what the customer has to their credit';
COMMENT ON COLUMN ledger_entries.amount IS 'Amount, in the posting''s currency';
COMMENT ON INDEX ledger_entries_key IS 'One entry per account';

CREATE TABLE IF NOT EXISTS credit_balances (
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric(16, 4) NOT NULL DEFAULT 0 CONSTRAINT credit_balances_never_below_zero CHECK (amount >= 0),
    PRIMARY KEY (user_id, currency)
);
COMMENT ON TABLE credit_balances IS 'What customers have to their credit: paid too much, or taken back after they paid';
COMMENT ON COLUMN credit_balances.user_id IS 'The customer';
COMMENT ON COLUMN credit_balances.currency IS 'ISO 4217 code';
COMMENT ON COLUMN credit_balances.amount IS 'Amount, in currency; the next bill uses it, or it is refunded';

CREATE OR REPLACE TRIGGER ledger_postings_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
CREATE OR REPLACE TRIGGER ledger_entries_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE ledger_postings ENABLE ALWAYS TRIGGER ledger_postings_immutable;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_immutable;
-- A constraint trigger cannot be replaced, nor dropped while its transaction has something to check.
DO $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT * FROM (VALUES
        ('invoices', 'invoices_lines_add_up', 'INSERT OR UPDATE', 'check_invoice_lines'),
        ('invoices', 'invoices_ledger_agrees', 'INSERT OR UPDATE', 'check_invoice_ledger'),
        ('ledger_postings', 'ledger_postings_balance', 'INSERT', 'check_posting'),
        ('ledger_entries', 'ledger_entries_balance', 'INSERT', 'check_posting'),
        ('credit_balances', 'credit_balances_ledger_agrees', 'INSERT OR UPDATE OR DELETE', 'check_credit_balance'),
        ('invoice_series', 'invoice_series_has_no_gap', 'INSERT OR UPDATE', 'check_invoice_series')
    ) AS t (on_table, name, events, function) LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = v.on_table::regclass AND tgname = v.name) THEN
            EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER %s ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %I()',
                           v.name, v.events, v.on_table, v.function);
        END IF;
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', v.on_table, v.name);
    END LOOP;
END
$$;
GRANT SELECT ON ledger_postings, ledger_entries, credit_balances TO segs_api, segs_worker, segs_readonly;
