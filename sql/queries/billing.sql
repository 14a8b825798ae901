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

-- name: registered_later
-- Meters that are not on the list, since they were registered after the month, and the month where they are.
SELECT d.meter_id, lower(b.span) AS since, upper(b.span) AS until
FROM (SELECT DISTINCT d.meter_id FROM devices AS d
       WHERE lower(d.valid) = '-infinity' AND d.created_at > %(month)s::date::timestamp AT TIME ZONE 'UTC') AS d
CROSS JOIN LATERAL (SELECT l.timezone FROM meter_locations AS l WHERE l.meter_id = d.meter_id ORDER BY l.valid DESC LIMIT 1) AS l
CROSS JOIN LATERAL (SELECT tstzrange(%(month)s::date::timestamp AT TIME ZONE l.timezone, (%(month)s::date + INTERVAL '1 month') AT TIME ZONE l.timezone) AS span) AS b
WHERE NOT EXISTS (SELECT FROM billing_work AS w WHERE (w.month, w.meter_id) = (%(month)s::date, d.meter_id));

-- name: open
-- The tables that bills are rated in.
SELECT bills_open();

-- name: take
-- Some of them that nobody else has.
SELECT t.meter_id, m.meter_code FROM billing_take(%(month)s, %(meters)s, %(begun)s, %(limit)s, %(now)s) AS t (meter_id) JOIN meters AS m USING (meter_id)
ORDER BY t.meter_id;

-- name: wait
-- Whether others have left some of those that they had.
SELECT billing_wait(%(month)s, %(meters)s, %(begun)s) AS left_over;

-- name: over
-- When the month is over for each meter, and bills of it may be made.
WITH month AS (
    SELECT array_fill((%(month)s::date + INTERVAL '1 month')::date, ARRAY[cardinality(%(meters)s::integer[])]) AS ends
)
SELECT b.meter_id, coalesce(b.at, b.day::timestamp AT TIME ZONE 'UTC') + make_interval(hours => s.wait_h) AS at
FROM month AS m CROSS JOIN LATERAL billing_bounds(%(meters)s, m.ends, m.ends) AS b CROSS JOIN billing_settings AS s;

-- name: parts
-- What bills the month makes of each meter, and which there are.
WITH month AS (
    SELECT array_fill(%(month)s::date, s.size) AS first, array_fill((%(month)s::date + INTERVAL '1 month')::date, s.size) AS ends
    FROM (SELECT ARRAY[cardinality(%(meters)s::integer[])] AS size) AS s
)
SELECT p.meter_id, p.first_day, p.end_day, p.starts_at, p.ends_at, p.user_id, p.currency, p.reason, i.invoice_id,
       EXISTS (SELECT FROM invoices AS o WHERE o.meter_id = p.meter_id AND o.kind = 'invoice' AND o.status NOT IN ('draft', 'cancelled')
                  AND daterange(o.period_start, o.period_end) && daterange(p.first_day, p.end_day)) AS billed
FROM month AS m CROSS JOIN LATERAL billing_parts(%(meters)s, m.first, m.ends) AS p
LEFT JOIN invoices AS i ON i.meter_id = p.meter_id AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
     AND i.user_id = p.user_id AND (i.period_start, i.period_end) = (p.first_day, p.end_day)
ORDER BY p.meter_id, p.first_day;

-- name: plan
-- Segments and days of bills, as columns in arrays, and in which spans reactive energy matters (NULL: in none).
WITH planned AS MATERIALIZED (
    SELECT p.* FROM billing_plan(%(meters)s, %(first)s, %(end)s) AS p
), factored AS MATERIALIZED (
    SELECT t.tariff_id FROM tariffs AS t WHERE t.tariff_id IN (SELECT p.tariff_id FROM planned AS p) AND t.document @? '$.power_factor[*]'
), segment AS (
    SELECT p.bill, array_agg(p.account ORDER BY p.starts_at)::text AS account, array_agg(p.tariff_id ORDER BY p.starts_at)::text AS tariff_id,
           array_agg(p.starts_at ORDER BY p.starts_at)::text AS starts_at, array_agg(p.ends_at ORDER BY p.starts_at)::text AS ends_at,
           array_agg(p.generator_id ORDER BY p.starts_at)::text AS generators, min(p.starts_at) AS since, max(p.ends_at) AS until,
           bool_or(p.tariff_id IS NULL OR NOT p.priced OR p.gross AND p.generator_id IS NULL) AS lacks,
           range_agg(tstzrange(p.starts_at, p.ends_at)) FILTER (WHERE f.tariff_id IS NOT NULL)::text AS reactive
    FROM planned AS p LEFT JOIN factored AS f USING (tariff_id) GROUP BY p.bill
), day AS (
    SELECT d.bill, trim_array(array_agg(d.at ORDER BY d.day), 1)::text AS days FROM billing_bounds(%(meters)s, %(first)s, %(end)s) AS d GROUP BY d.bill
)
SELECT s.*, d.days FROM segment AS s JOIN day AS d USING (bill) ORDER BY s.bill;

-- name: lacking
-- Segments of a bill that lack what it takes to price them.
SELECT p.starts_at, p.ends_at, p.tariff_id, p.priced FROM billing_plan(ARRAY[%(meter)s::integer], ARRAY[%(first)s::date], ARRAY[%(end)s::date]) AS p
WHERE p.tariff_id IS NULL OR NOT p.priced OR p.gross AND p.generator_id IS NULL ORDER BY p.starts_at;

-- name: unpriced
-- Of instants at which meters have no tariff, those at which the one that each gets next (or has) had no price table yet, and since
-- when it has one.
SELECT a.n::integer AS place, t.code, t.since
FROM unnest(%(meters)s::integer[], %(at)s::timestamptz[]) WITH ORDINALITY AS a (meter_id, at, n)
CROSS JOIN LATERAL (SELECT m.code FROM meter_tariffs AS m WHERE m.meter_id = a.meter_id AND upper(m.valid) > a.at ORDER BY m.valid LIMIT 1) AS m
CROSS JOIN LATERAL (SELECT t.code, min(lower(t.valid)) AS since FROM tariffs AS t WHERE t.code = m.code GROUP BY t.code) AS t
WHERE t.since > a.at;

-- name: draft
-- Drafts of bills.
SELECT d.bill, d.invoice_id FROM bills_draft(%(meters)s, %(first)s, %(end)s, %(energy)s, %(now)s) AS d ORDER BY d.bill;

-- name: hold_bills
-- Nobody else touches bills.
SELECT bill_lock(b.invoice_id) FROM (SELECT b.invoice_id FROM unnest(%(invoices)s::bigint[]) AS b (invoice_id) ORDER BY 1) AS b;

-- name: hold
-- Nobody else touches what customers have to their credit.
SELECT credits_lock(%(users)s, %(currencies)s);

-- name: finalise
-- Drafts become final.
SELECT f.invoice_number FROM bills_finalise(%(invoices)s, %(now)s) AS f;

-- name: report
-- What became of meters.
SELECT billing_report(%(month)s, %(meters)s, %(states)s, %(findings)s);

-- name: made
-- Bills in short.
SELECT i.invoice_id, i.invoice_number, i.status, i.total_amount, i.currency, i.period_start, i.period_end FROM invoices AS i WHERE i.invoice_id = ANY (%(invoices)s);

-- name: earlier
-- Final bills of the year before, as long as quarter-hours are kept, with the version of the intervals that they, or their last
-- correction, were made from; those that are beyond what a run corrects are too late for that.
SELECT i.meter_id, i.invoice_id, i.invoice_number, i.user_id, i.currency, i.period_start AS first_day, i.period_end AS end_day, lower(i.span) AS starts_at, upper(i.span) AS ends_at,
       coalesce((SELECT c.intervals_version FROM invoice_corrections AS c WHERE c.invoice_id = i.invoice_id ORDER BY c.correction_id DESC LIMIT 1),
                i.intervals_version) AS version,
       i.period_start < (%(month)s::date - make_interval(months => s.recheck_months))::date AS beyond,
       i.finalised_at, i.energy_import_wh AS import_wh, i.energy_export_wh AS export_wh,
       EXISTS (SELECT FROM meter_generators AS g WHERE g.meter_id = i.meter_id) AS generated,
       b.looks_back,
       -- One before it that is younger may have another peak, or have banked something else.
       CASE WHEN b.looks_back THEN EXISTS (
           SELECT FROM invoices AS p
            WHERE p.meter_id = i.meter_id AND p.user_id = i.user_id AND p.kind = 'invoice' AND p.status NOT IN ('draft', 'cancelled')
              AND p.period_start < i.period_start AND p.period_start >= i.period_start - INTERVAL '13 months'
              AND greatest(p.finalised_at, (SELECT max(c.found_at) FROM invoice_corrections AS c WHERE c.invoice_id = p.invoice_id))
                  > greatest(i.created_at, (SELECT max(c.found_at) FROM invoice_corrections AS c WHERE c.invoice_id = i.invoice_id))) ELSE false END AS behind,
       w.invoice_id IS NOT NULL AS stranded
FROM invoices AS i CROSS JOIN billing_settings AS s
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM invoice_line_items AS l JOIN tariffs AS t USING (tariff_id)
                    WHERE l.invoice_id = i.invoice_id
                      AND (t.document #>> '{metering,rule}' = 'net_metering' OR (t.document ->> 'lookbackpercent')::numeric > 0)) AS looks_back
    OFFSET 0) AS b
LEFT JOIN (SELECT DISTINCT w.invoice_id FROM bills_stranded(%(meters)s) AS w) AS w USING (invoice_id)
WHERE i.meter_id = ANY (%(meters)s) AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled', 'disputed') AND i.intervals_version IS NOT NULL
  AND i.period_end <= %(month)s AND i.period_start >= (%(month)s::date - INTERVAL '12 months')::date
ORDER BY i.meter_id, i.period_start;

-- name: stranded
-- Corrections that wait for a bill which there will not be, and what would have to be made anew for that.
SELECT w.meter_id, w.invoice_id, i.invoice_number, lower(c.span) AS starts_at, upper(c.span) AS ends_at, c.invoice_number AS corrected, c.currency,
       round(w.net_amount + w.tax_amount, minor_digits(c.currency)) AS amount
FROM bills_stranded(%(meters)s) AS w JOIN invoices AS i USING (invoice_id) JOIN invoices AS c ON c.invoice_id = w.corrected_id
-- Those after the month are looked at by runs of later ones.
WHERE i.period_end <= %(month)s ORDER BY w.meter_id, w.correction_id, w.invoice_id;

-- name: generators
-- Of which segments of bills the intervals of another meter are behind them too.
SELECT p.bill, p.generator_id, p.starts_at, p.ends_at FROM billing_plan(%(meters)s, %(first)s, %(end)s) AS p
WHERE p.generator_id IS NOT NULL ORDER BY p.bill, p.starts_at;

-- name: correct
-- What comes of intervals that changed since.
SELECT c.invoice_id, c.outcome FROM bills_correct(%(invoices)s, %(energy)s, %(now)s) AS c;

-- name: replace
-- Other bills in place of them.
SELECT r.invoice_id FROM bills_replace(%(invoices)s, %(energy)s, %(now)s) AS r;

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
SELECT p.payment_id, p.kind, p.provider, p.provider_reference AS reference, p.amount, p.currency, p.method, p.occurred_at,
       CASE WHEN EXISTS (SELECT FROM ledger_postings AS l WHERE l.payment_id = p.payment_id AND l.kind = 'reversal') THEN 'reversed' ELSE p.status END AS status
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
