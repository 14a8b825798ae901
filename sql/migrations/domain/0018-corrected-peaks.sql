-- A bill that is corrected stays as it is; its peak, for later ratchets, is with the correction. What was corrected before has the
-- peak of its bill.

ALTER TABLE invoice_corrections ADD COLUMN IF NOT EXISTS peak_kw numeric(18, 6);
