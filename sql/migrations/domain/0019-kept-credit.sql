-- What disputes gave is kept by bills in place of those that it was given for.

ALTER TABLE invoice_corrections ADD COLUMN IF NOT EXISTS credit_note_id bigint REFERENCES invoices ON DELETE RESTRICT;
CREATE UNIQUE INDEX IF NOT EXISTS invoice_corrections_credit_note_key ON invoice_corrections (credit_note_id) WHERE credit_note_id IS NOT NULL;
