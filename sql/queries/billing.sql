-- Statements of `segs-cloud billing` and of its runs. Domain database.

-- name: settings
-- The policy.
SELECT s.finalise, s.late_data, s.wait_h, s.payment_days, s.recheck_months, s.bill_failed, s.issuer FROM billing_settings AS s;

-- name: meters
-- Numbers of meters by their codes.
SELECT m.meter_code, m.meter_id FROM meters AS m WHERE m.meter_code = ANY (%(codes)s);

-- name: enlist
-- Meters of the month, on the list.
SELECT billing_enlist(%(month)s, %(meters)s);

-- name: take
-- One of them that nobody else has.
SELECT t.meter_id, m.meter_code FROM billing_take(%(month)s, %(meters)s, %(begun)s, %(now)s) AS t (meter_id) JOIN meters AS m USING (meter_id);

-- name: over
-- When the month is over, and bills of it may be made.
SELECT coalesce(billing_bound(%(meter)s, (%(month)s::date + INTERVAL '1 month')::date), (%(month)s::date + INTERVAL '1 month') AT TIME ZONE 'UTC')
       + make_interval(hours => s.wait_h) AS at FROM billing_settings AS s;

-- name: parts
-- What bills the month makes, and which there are.
SELECT p.*, i.invoice_id, i.invoice_number, i.status,
       EXISTS (SELECT FROM invoices AS o WHERE o.meter_id = %(meter)s AND o.kind = 'invoice' AND o.status NOT IN ('draft', 'cancelled')
                  AND daterange(o.period_start, o.period_end) && daterange(p.first_day, p.end_day)) AS billed
FROM billing_parts(%(meter)s, %(month)s, (%(month)s::date + INTERVAL '1 month')::date) AS p
LEFT JOIN invoices AS i ON i.meter_id = %(meter)s AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
     AND i.user_id = p.user_id AND (i.period_start, i.period_end) = (p.first_day, p.end_day)
ORDER BY p.first_day;

-- name: plan
-- The segments of a bill.
SELECT p.account, p.tariff_id, p.starts_at, p.ends_at, p.priced, p.gross, p.generator_id FROM billing_plan(%(meter)s, %(first)s, %(end)s) AS p
ORDER BY p.starts_at;

-- name: generators
-- Of which of its segments the intervals of another meter are behind it too.
SELECT p.generator_id AS meter, p.starts_at, p.ends_at FROM billing_plan(%(meter)s, %(first_day)s, %(end_day)s) AS p
WHERE EXISTS (SELECT FROM meter_generators AS g WHERE g.meter_id = %(meter)s) AND p.generator_id IS NOT NULL ORDER BY p.starts_at;

-- name: days
-- Its days.
SELECT d.day, d.starts_at, d.ends_at FROM billing_days(%(meter)s, %(first)s, %(end)s) AS d ORDER BY d.day;

-- name: draft
-- A draft of it.
SELECT bill_draft(%(meter)s, %(first)s, %(end)s, %(energy)s, %(days)s, %(now)s) AS invoice_id;

-- name: finalise
-- A draft becomes final.
SELECT bill_finalise(%(invoice)s, %(now)s) AS invoice_number;

-- name: report
-- What became of a meter.
SELECT billing_report(%(month)s, %(meter)s, %(state)s, %(findings)s);

-- name: made
-- A bill in short.
SELECT i.invoice_id, i.invoice_number, i.status, i.total_amount, i.currency, i.period_start, i.period_end FROM invoices AS i WHERE i.invoice_id = %(invoice)s;

-- name: earlier
-- Final bills of the months before, with the version of the intervals that they, or their last correction, were made from.
SELECT i.invoice_id, i.invoice_number, i.period_start AS first_day, i.period_end AS end_day, lower(i.span) AS starts_at, upper(i.span) AS ends_at,
       coalesce((SELECT c.intervals_version FROM invoice_corrections AS c WHERE c.invoice_id = i.invoice_id ORDER BY c.correction_id DESC LIMIT 1),
                i.intervals_version) AS version
FROM invoices AS i CROSS JOIN billing_settings AS s
WHERE i.meter_id = %(meter)s AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled', 'disputed') AND i.intervals_version IS NOT NULL
  AND i.period_end <= %(month)s AND i.period_start >= (%(month)s::date - make_interval(months => s.recheck_months))::date
ORDER BY i.period_start;

-- name: correct
-- What comes of intervals that changed since.
SELECT c.outcome, c.invoice_id FROM bill_correct(%(invoice)s, %(energy)s, %(days)s, %(now)s) AS c;

-- name: find
-- A bill by its number, or a draft by its id.
SELECT i.invoice_id FROM invoices AS i WHERE i.invoice_number = %(bill)s OR i.status = 'draft' AND i.invoice_id::text = %(bill)s;

-- name: list
-- Bills, drafts last.
SELECT i.invoice_id, i.kind, i.invoice_number AS number, m.meter_code AS meter, i.user_id, i.period_start AS first_day, i.period_end AS end_day, i.status,
       i.currency, i.total_amount AS total, i.open_amount AS open, i.due_date
FROM invoices AS i JOIN meters AS m USING (meter_id)
WHERE (%(month)s::date IS NULL OR i.period_start >= %(month)s AND i.period_start < %(month)s::date + INTERVAL '1 month')
  AND (%(meter)s::text IS NULL OR m.meter_code = %(meter)s) AND (%(status)s::text IS NULL OR i.status = %(status)s)
ORDER BY i.kind DESC, i.serial_number NULLS LAST, i.invoice_id;

-- name: bill
-- All of a bill but its lines.
SELECT i.invoice_id, i.kind, i.invoice_number AS number, i.status, c.invoice_number AS credits, m.meter_code AS meter, i.user_id, i.recipient_name, i.recipient_address,
       i.issuer, i.language, i.period_start AS first_day, i.period_end AS end_day, i.timezone, lower(i.span) AS starts_at, upper(i.span) AS ends_at, i.currency,
       minor_digits(i.currency) AS digits, i.net_amount AS net, i.tax_amount AS tax, i.total_amount AS total, i.paid_amount AS paid, i.credited_amount AS credited,
       i.open_amount AS open, i.energy_import_wh, i.energy_export_wh, i.peak_kw, i.intervals_version, i.finalised_at, i.due_date, i.paid_at, i.overdue_at,
       i.cancelled_at, i.made_by, i.reason
FROM invoices AS i JOIN meters AS m USING (meter_id) LEFT JOIN invoices AS c ON c.invoice_id = i.credits_invoice_id
WHERE i.invoice_id = %(invoice)s;

-- name: lines
-- Its lines.
SELECT l.position, l.component, l.description, l.tariff_id, t.code AS tariff, l.period, l.tier, lower(l.span) AS "from", upper(l.span) AS "to", l.quantity, l.unit,
       l.unit_price, l.amount, l.quality, l.intervals_version, l.estimated
FROM invoice_line_items AS l LEFT JOIN tariffs AS t USING (tariff_id) WHERE l.invoice_id = %(invoice)s ORDER BY l.position;

-- name: at_final
-- What credit had paid of it when it became final, and what was left.
SELECT coalesce(-sum(e.amount), 0) AS paid, i.total_amount + coalesce(sum(e.amount), 0) AS open
FROM invoices AS i
LEFT JOIN ledger_postings AS p ON p.invoice_id = i.invoice_id AND p.kind = 'balance'
LEFT JOIN ledger_entries AS e ON e.posting_id = p.posting_id AND e.account = 'receivable'
WHERE i.invoice_id = %(invoice)s GROUP BY i.invoice_id;

-- name: usage
-- Use of its days.
SELECT d.day, d.energy_import_wh, d.energy_export_wh, d.estimated FROM invoice_days AS d WHERE d.invoice_id = %(invoice)s ORDER BY d.day;

-- name: payments
-- Money that came for it, or went back.
SELECT p.payment_id, p.kind, p.provider, p.provider_reference AS reference, p.amount, p.currency, p.status, p.method, p.occurred_at
FROM payment_transactions AS p WHERE p.invoice_id = %(invoice)s ORDER BY p.payment_id;

-- name: disputes
-- Its disputes.
SELECT d.reason, d.opened_by, d.opened_at, d.outcome, d.resolution, d.resolved_by, d.resolved_at, n.invoice_number AS credit_note
FROM invoice_disputes AS d LEFT JOIN invoices AS n ON n.invoice_id = d.credit_note_id WHERE d.invoice_id = %(invoice)s ORDER BY d.dispute_id;

-- name: notes
-- Its credit notes.
SELECT c.invoice_number AS number, c.total_amount AS total, c.reason, c.finalised_at FROM invoices AS c WHERE c.credits_invoice_id = %(invoice)s ORDER BY c.serial_number;

-- name: drafts
-- Drafts of a month that can become final.
SELECT i.invoice_id FROM invoices AS i WHERE i.status = 'draft' AND i.kind = 'invoice' AND i.period_start >= %(month)s AND i.period_start < %(month)s::date + INTERVAL '1 month'
ORDER BY i.invoice_id;

-- name: credit
-- A credit note.
SELECT bill_credit(%(invoice)s, %(amount)s, %(reason)s, %(now)s) AS invoice_id;

-- name: dispute
-- A dispute.
SELECT bill_dispute(%(invoice)s, %(reason)s, %(now)s);

-- name: resolve
-- Its end.
SELECT bill_dispute_resolve(%(invoice)s, %(outcome)s, %(amount)s, %(reason)s, %(now)s) AS invoice_id;

-- name: overdue
-- What becomes overdue.
SELECT bills_overdue(%(limit)s, %(now)s) AS bills;

-- name: owing
-- What is overdue.
SELECT i.invoice_number AS number, m.meter_code AS meter, i.user_id, i.due_date, i.open_amount AS open, i.currency, i.overdue_at
FROM invoices AS i JOIN meters AS m USING (meter_id) WHERE i.status = 'overdue' ORDER BY i.due_date, i.serial_number;

-- name: set
-- Another policy; what is NULL stays.
UPDATE billing_settings SET issuer = coalesce(%(issuer)s, issuer), payment_days = coalesce(%(payment_days)s, payment_days), wait_h = coalesce(%(wait_h)s, wait_h),
    finalise = coalesce(%(finalise)s, finalise), late_data = coalesce(%(late_data)s, late_data), recheck_months = coalesce(%(recheck_months)s, recheck_months),
    bill_failed = coalesce(%(bill_failed)s, bill_failed);

-- name: address
-- Where a customer's bills go.
INSERT INTO billing_addresses (user_id, name, address) VALUES (%(user)s, %(name)s, %(address)s)
ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, address = excluded.address;

-- name: user
-- A customer by address, or by number after they left.
SELECT u.user_id FROM users AS u WHERE u.email = lower(%(user)s) OR u.user_id::text = %(user)s;
