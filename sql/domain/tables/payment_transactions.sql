CREATE TABLE IF NOT EXISTS payment_transactions (
    payment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE RESTRICT,
    kind text NOT NULL CHECK (kind IN ('payment', 'refund')),
    provider text NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_]{0,62}$'),
    provider_reference text NOT NULL CHECK (provider_reference <> ''),
    amount numeric(16, 4) NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    recorded_by integer REFERENCES users ON DELETE RESTRICT,
    actor text CHECK (actor <> ''),
    method text CHECK (method ~ '^[a-z][a-z0-9_]{0,62}$'),
    occurred_at timestamptz NOT NULL,
    settled_at timestamptz CHECK (settled_at >= occurred_at),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT payment_transactions_provider_key UNIQUE (provider, provider_reference),
    CONSTRAINT payment_transactions_settled_with_time CHECK ((status = 'pending') = (settled_at IS NULL)),
    CONSTRAINT payment_transactions_manual_is_recorded_by_somebody CHECK (provider <> 'manual' OR num_nonnulls(recorded_by, actor) > 0)
);
CREATE INDEX IF NOT EXISTS payment_transactions_invoice_idx ON payment_transactions (invoice_id);
COMMENT ON TABLE payment_transactions IS 'Money that came or went back, as a provider or an operator reported it';
COMMENT ON COLUMN payment_transactions.payment_id IS 'Row key';
COMMENT ON COLUMN payment_transactions.invoice_id IS 'What it pays';
COMMENT ON COLUMN payment_transactions.kind IS 'payment from the customer or refund to the customer';
COMMENT ON COLUMN payment_transactions.provider IS 'Who reported it; manual for an operator';
COMMENT ON COLUMN payment_transactions.provider_reference IS 'The provider''s own number of it';
COMMENT ON COLUMN payment_transactions.amount IS 'Amount, positive for both kinds, in currency';
COMMENT ON COLUMN payment_transactions.currency IS 'ISO 4217 code';
COMMENT ON COLUMN payment_transactions.status IS 'pending, succeeded or failed';
COMMENT ON COLUMN payment_transactions.recorded_by IS 'Operator who recorded it; NULL for a provider''s report';
COMMENT ON COLUMN payment_transactions.actor IS 'Who recorded it at the command line, as the audit log names them';
COMMENT ON COLUMN payment_transactions.method IS 'How it was paid: cash, bank, card; NULL where nobody says';
COMMENT ON COLUMN payment_transactions.occurred_at IS 'When the provider says it happened';
COMMENT ON COLUMN payment_transactions.settled_at IS 'When it succeeded or failed';
COMMENT ON COLUMN payment_transactions.created_at IS 'When the row was made';
COMMENT ON COLUMN payment_transactions.updated_at IS 'When the row changed last';
COMMENT ON INDEX payment_transactions_provider_key IS 'A provider''s report counts once, however often it comes';
COMMENT ON INDEX payment_transactions_invoice_idx IS 'Payments of an invoice';
CREATE OR REPLACE TRIGGER payment_transactions_guard BEFORE INSERT OR UPDATE OR DELETE ON payment_transactions
    FOR EACH ROW EXECUTE FUNCTION guard_payment();
CREATE OR REPLACE TRIGGER payment_transactions_stay BEFORE TRUNCATE ON payment_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE payment_transactions ENABLE ALWAYS TRIGGER payment_transactions_guard, ENABLE ALWAYS TRIGGER payment_transactions_stay;
CREATE OR REPLACE TRIGGER payment_transactions_touch BEFORE UPDATE ON payment_transactions
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER payment_transactions_audit AFTER INSERT OR UPDATE OR DELETE ON payment_transactions
    FOR EACH ROW EXECUTE FUNCTION audit_change('payment_id');
-- Written by functions alone.
GRANT SELECT ON payment_transactions TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS payment_events (
    provider text NOT NULL,
    event_id text NOT NULL CHECK (event_id <> '' AND length(event_id) <= 200),
    message_sha256 text NOT NULL CHECK (message_sha256 ~ '^[0-9a-f]{64}$'),
    payment_id bigint REFERENCES payment_transactions ON DELETE RESTRICT,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, event_id)
);
COMMENT ON TABLE payment_events IS 'What providers told: each event counts once, however often it comes';
COMMENT ON COLUMN payment_events.provider IS 'Who told it';
COMMENT ON COLUMN payment_events.event_id IS 'The provider''s own number of the event';
COMMENT ON COLUMN payment_events.message_sha256 IS 'SHA-256 of its body, in hexadecimal: the same number with another body is refused';
COMMENT ON COLUMN payment_events.payment_id IS 'The transaction that it is about';
COMMENT ON COLUMN payment_events.received_at IS 'When it came first';
CREATE OR REPLACE TRIGGER payment_events_audit AFTER INSERT OR UPDATE OR DELETE ON payment_events
    FOR EACH ROW EXECUTE FUNCTION audit_change('event_id');
GRANT SELECT ON payment_events TO segs_worker, segs_readonly;
