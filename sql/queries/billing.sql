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
SELECT p.account, p.tariff_id, p.starts_at, p.ends_at FROM billing_plan(%(meter)s, %(first)s, %(end)s) AS p ORDER BY p.starts_at;

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
