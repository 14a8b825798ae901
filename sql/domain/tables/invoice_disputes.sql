CREATE TABLE IF NOT EXISTS invoice_disputes (
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
CREATE UNIQUE INDEX IF NOT EXISTS invoice_disputes_open_key ON invoice_disputes (invoice_id) WHERE outcome IS NULL;
CREATE INDEX IF NOT EXISTS invoice_disputes_invoice_idx ON invoice_disputes (invoice_id);
COMMENT ON TABLE invoice_disputes IS 'Bills that customers do not agree with, and what came of it';
COMMENT ON COLUMN invoice_disputes.dispute_id IS 'Row key';
COMMENT ON COLUMN invoice_disputes.invoice_id IS 'The bill';
COMMENT ON COLUMN invoice_disputes.reason IS 'What the customer says';
COMMENT ON COLUMN invoice_disputes.opened_by IS 'Who opened it, as the audit log names them';
COMMENT ON COLUMN invoice_disputes.opened_at IS 'When';
COMMENT ON COLUMN invoice_disputes.outcome IS 'upheld (a credit note took it back) or rejected; NULL while it is open';
COMMENT ON COLUMN invoice_disputes.resolution IS 'Why';
COMMENT ON COLUMN invoice_disputes.resolved_by IS 'Who decided, as the audit log names them; never the customer';
COMMENT ON COLUMN invoice_disputes.resolved_at IS 'When';
COMMENT ON COLUMN invoice_disputes.credit_note_id IS 'The credit note of an upheld one';
COMMENT ON INDEX invoice_disputes_open_key IS 'One open dispute per bill';
COMMENT ON INDEX invoice_disputes_invoice_idx IS 'Disputes of a bill';
CREATE OR REPLACE TRIGGER invoice_disputes_audit AFTER INSERT OR UPDATE OR DELETE ON invoice_disputes
    FOR EACH ROW EXECUTE FUNCTION audit_change('dispute_id');
GRANT SELECT ON invoice_disputes TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS invoice_corrections (
    correction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE RESTRICT,
    intervals_version bigint,
    net_amount numeric(16, 4) NOT NULL,
    tax_amount numeric(16, 4) NOT NULL,
    on_invoice_id bigint REFERENCES invoices ON DELETE SET NULL,
    found_at timestamptz NOT NULL,
    peak_kw numeric(18, 6),
    credit_note_id bigint REFERENCES invoices ON DELETE RESTRICT
);
CREATE UNIQUE INDEX IF NOT EXISTS invoice_corrections_credit_note_key ON invoice_corrections (credit_note_id) WHERE credit_note_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS invoice_corrections_invoice_idx ON invoice_corrections (invoice_id);
CREATE INDEX IF NOT EXISTS invoice_corrections_on_invoice_idx ON invoice_corrections (on_invoice_id) WHERE on_invoice_id IS NOT NULL;
COMMENT ON TABLE invoice_corrections IS 'What bills would be more or less by, after readings that came when they were final: the next bill has it as lines of its own';
COMMENT ON COLUMN invoice_corrections.correction_id IS 'Row key';
COMMENT ON COLUMN invoice_corrections.invoice_id IS 'The bill that stays as it is';
COMMENT ON COLUMN invoice_corrections.intervals_version IS 'Sum of the versions of its quarter-hours by then; NULL where a credit note took the bill back';
COMMENT ON COLUMN invoice_corrections.net_amount IS 'More (or less) without taxes, in the bill''s currency';
COMMENT ON COLUMN invoice_corrections.tax_amount IS 'More (or less) tax, in the bill''s currency';
COMMENT ON COLUMN invoice_corrections.on_invoice_id IS 'The bill that has it; NULL while it waits for one';
COMMENT ON COLUMN invoice_corrections.found_at IS 'When a run found it';
COMMENT ON COLUMN invoice_corrections.peak_kw IS 'Highest demand of the bill''s period by then, kW, for a ratchet to look back at; NULL where a credit note took the bill back, and where that was not noted yet';
COMMENT ON COLUMN invoice_corrections.credit_note_id IS 'The credit note over a part that a dispute ended with, of a bill that was taken back whole later: the bill in place of it keeps what it gave, and no other has it';
COMMENT ON INDEX invoice_corrections_credit_note_key IS 'What a dispute gave is kept once';
COMMENT ON INDEX invoice_corrections_invoice_idx IS 'Corrections of a bill';
COMMENT ON INDEX invoice_corrections_on_invoice_idx IS 'Corrections on a bill';
CREATE OR REPLACE TRIGGER invoice_corrections_audit AFTER INSERT OR UPDATE OR DELETE ON invoice_corrections
    FOR EACH ROW EXECUTE FUNCTION audit_change('correction_id');
GRANT SELECT ON invoice_corrections TO segs_worker, segs_readonly;
