-- Statements of the API about bills. Domain database, but for those that say otherwise; the tables' policies say which rows
-- there are, the functions who may do what.

-- name: look
-- Before a look at one bill.
SELECT bill_look(%(what)s, %(invoice)s);

-- name: named
-- Whether there is the meter that a list is asked for.
SELECT %(meter)s::text IS NULL OR EXISTS (SELECT FROM meters WHERE meter_code = %(meter)s) AS meter;

-- name: page
-- One page, the newest first; one more than is shown says whether there is another.
SELECT i.invoice_id, i.kind, i.invoice_number AS number, i.status, m.meter_code AS meter, i.meter_id, i.user_id, i.period_start AS first_day, i.period_end AS end_day,
       i.timezone, i.currency, money_text(i.net_amount, i.currency) AS net_amount, money_text(i.tax_amount, i.currency) AS tax_amount,
       money_text(i.total_amount, i.currency) AS total_amount, money_text(i.paid_amount, i.currency) AS paid_amount,
       money_text(i.credited_amount, i.currency) AS credited_amount, money_text(i.open_amount, i.currency) AS open_amount, i.finalised_at, i.due_date
FROM invoices AS i JOIN meters AS m USING (meter_id)
WHERE (%(after)s = 0 OR i.invoice_id < %(after)s) AND (%(meter)s::text IS NULL OR m.meter_code = %(meter)s)
    AND (%(status)s::text IS NULL OR i.status = %(status)s) AND (%(kind)s::text IS NULL OR i.kind = %(kind)s)
    AND (%(number)s::text IS NULL OR i.invoice_number = %(number)s)
    AND (%(month)s::date IS NULL OR i.period_start >= %(month)s AND i.period_start < %(month)s::date + INTERVAL '1 month')
ORDER BY i.invoice_id DESC LIMIT %(limit)s + 1;

-- name: invoice
-- One bill.
SELECT i.invoice_id, i.kind, i.invoice_number AS number, i.status, m.meter_code AS meter, i.user_id, i.period_start AS first_day, i.period_end AS end_day,
       i.timezone, i.currency, money_text(i.net_amount, i.currency) AS net_amount, money_text(i.tax_amount, i.currency) AS tax_amount,
       money_text(i.total_amount, i.currency) AS total_amount, money_text(i.paid_amount, i.currency) AS paid_amount,
       money_text(i.credited_amount, i.currency) AS credited_amount, money_text(i.open_amount, i.currency) AS open_amount, i.finalised_at, i.due_date,
       c.invoice_number AS credits, i.reason, i.energy_import_wh, i.energy_export_wh, trim_scale(i.peak_kw)::text AS peak_kw, i.recipient_name,
       i.recipient_address, i.issuer, i.language, i.paid_at, i.overdue_at, i.cancelled_at
FROM invoices AS i JOIN meters AS m USING (meter_id) LEFT JOIN invoices AS c ON c.invoice_id = i.credits_invoice_id
WHERE i.invoice_id = %(invoice)s;

-- name: lines
-- Its lines.
SELECT l.position, l.component, l.description, t.code AS tariff, l.tariff_id, l.period, l.tier, lower(l.span) AS "from", upper(l.span) AS "to",
       trim_scale(l.quantity)::text AS quantity, l.unit, trim_scale(l.unit_price)::text AS unit_price, money_text(l.amount, i.currency) AS amount, l.quality,
       l.intervals_version, l.estimated
FROM invoice_line_items AS l JOIN invoices AS i USING (invoice_id) LEFT JOIN tariffs AS t USING (tariff_id)
WHERE l.invoice_id = %(invoice)s ORDER BY l.position;

-- name: usage
-- Use of its days.
SELECT d.day, d.energy_import_wh, d.energy_export_wh, d.estimated FROM invoice_days AS d WHERE d.invoice_id = %(invoice)s ORDER BY d.day;

-- name: payments
-- Money that came for it, or went back.
SELECT p.payment_id, p.invoice_id, p.kind, p.provider, p.provider_reference AS reference, money_text(p.amount, p.currency) AS amount, p.currency,
       CASE WHEN EXISTS (SELECT FROM ledger_postings AS l WHERE l.payment_id = p.payment_id AND l.kind = 'reversal') THEN 'reversed' ELSE p.status END AS status, p.method,
       p.occurred_at, p.settled_at
FROM payment_transactions AS p
WHERE p.invoice_id = %(invoice)s AND (%(payment)s::bigint IS NULL OR p.payment_id = %(payment)s) ORDER BY p.payment_id;

-- name: disputes
-- Its disputes.
SELECT d.dispute_id, d.reason, d.opened_at, d.outcome, d.resolution, d.resolved_at, n.invoice_number AS credit_note
FROM invoice_disputes AS d LEFT JOIN invoices AS n ON n.invoice_id = d.credit_note_id WHERE d.invoice_id = %(invoice)s ORDER BY d.dispute_id;

-- name: notes
-- Its credit notes.
SELECT c.invoice_id, c.invoice_number AS number, money_text(c.total_amount, c.currency) AS total_amount, c.reason, c.finalised_at
FROM invoices AS c WHERE c.credits_invoice_id = %(invoice)s AND c.status <> 'draft' ORDER BY c.serial_number;

-- name: pay
-- A payment that the provider will tell of.
SELECT caller_pays(%(invoice)s, %(provider)s, %(reference)s, %(amount)s, %(now)s);

-- name: record
-- Money that an operator has seen.
SELECT caller_records_payment(%(invoice)s, %(reference)s, %(amount)s, %(method)s, %(occurred_at)s, %(now)s);

-- name: reverse
-- Money that was recorded by hand and was taken back.
SELECT caller_takes_payment_back(%(invoice)s, %(reference)s, %(occurred_at)s, %(now)s);

-- name: refund
-- Money that went back.
SELECT caller_refunds(%(invoice)s, %(reference)s, %(amount)s, %(method)s, %(now)s);

-- name: credit
-- A credit note.
SELECT caller_credits(%(invoice)s, %(amount)s, %(reason)s, %(now)s);

-- name: dispute
-- A dispute.
SELECT caller_disputes(%(invoice)s, %(reason)s, %(now)s);

-- name: resolve
-- Its end.
SELECT caller_resolves(%(invoice)s, %(outcome)s, %(amount)s, %(resolution)s, %(now)s);

-- name: finalise
-- A draft becomes final.
SELECT caller_finalises(%(invoice)s, %(now)s);

-- name: run
-- What became of a month.
SELECT count(*)::integer AS meters, count(*) FILTER (WHERE w.state = 'pending')::integer AS pending, count(*) FILTER (WHERE w.state = 'drafted')::integer AS drafted,
       count(*) FILTER (WHERE w.state = 'done')::integer AS done, count(*) FILTER (WHERE w.state = 'blocked')::integer AS blocked, max(w.tried_at) AS tried_at
FROM billing_work AS w WHERE w.month = %(month)s;

-- name: reasons
-- Why meters of it are not billed, each of them once, and of which earlier bills are behind their intervals.
SELECT f.finding ->> 'reason' AS reason, count(DISTINCT w.meter_id)::integer AS meters
FROM billing_work AS w CROSS JOIN LATERAL jsonb_array_elements(w.findings) AS f (finding)
WHERE w.month = %(month)s AND (w.state = 'blocked' OR f.finding ->> 'reason' = 'late') GROUP BY 1 ORDER BY 2 DESC, 1;

-- name: run_page
-- Meters of it.
SELECT w.meter_id, m.meter_code AS meter, w.state, w.tried_at, w.findings
FROM billing_work AS w JOIN meters AS m USING (meter_id)
WHERE w.month = %(month)s AND w.meter_id > %(after)s AND (%(state)s::text IS NULL OR w.state = %(state)s)
    AND (%(reason)s::text IS NULL OR w.findings @> jsonb_build_array(jsonb_build_object('reason', %(reason)s::text)))
ORDER BY w.meter_id LIMIT %(limit)s + 1;

-- name: cycle
-- What the next bill of a meter is over.
SELECT c.first_day, c.end_day, c.timezone, c.currency, c.reason FROM billing_cycle(%(code)s, %(now)s) AS c;

-- name: cycle_plan
-- Its segments until now.
SELECT p.starts_at, least(p.ends_at, date_bin(INTERVAL '15 minutes', %(now)s, '2000-01-01 00:00Z')) AS ends_at
FROM billing_cycle_plan(%(code)s, %(now)s) AS p WHERE p.starts_at < date_bin(INTERVAL '15 minutes', %(now)s, '2000-01-01 00:00Z') ORDER BY p.starts_at;

-- name: segment_energy
-- Energy of segments. Telemetry database. Of a year there are thousands, of which it is enough to know how many quarter-hours lack something.
SELECT jsonb_agg(to_jsonb(e) - CASE WHEN %(placed)s THEN '{}' ELSE '{unreactive_from,unreactive_to}' END::text[] ORDER BY e.starts_at)::text AS energy,
       sum(e.import_wh)::bigint AS energy_import_wh, sum(e.export_wh)::bigint AS energy_export_wh
FROM segment_energy(%(meter)s, %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS e;

-- name: cycle_unreactive
-- Where reactive energy is not known that it is priced by.
SELECT u.starts_at AS "from", u.ends_at AS "to", u.quarters AS quarters_count FROM billing_cycle_unreactive(%(code)s, %(energy)s, %(now)s) AS u;

-- name: cycle_rate
-- The bill that it would be.
SELECT money_text(coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0), %(currency)s) AS net_amount,
       money_text(coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0), %(currency)s) AS tax_amount,
       money_text(coalesce(sum(l.amount), 0), %(currency)s) AS total_amount,
       coalesce(jsonb_agg(jsonb_build_object('component', l.component, 'description', l.description, 'period', l.period, 'tier', l.tier,
           'quantity', trim_scale(l.quantity)::text, 'unit', l.unit, 'unit_price', trim_scale(l.unit_price)::text,
           'amount', money_text(l.amount, %(currency)s), 'estimated', l.estimated) ORDER BY l.n), '[]') AS lines
FROM billing_cycle_rate(%(code)s, %(energy)s, %(projected)s, %(now)s) WITH ORDINALITY
     AS l (component, description, period, tier, quantity, unit, unit_price, amount, estimated, n);

-- name: what_if_days
-- The whole months before this one.
SELECT (date_trunc('month', %(now)s::timestamptz AT TIME ZONE %(zone)s) - make_interval(months => %(months)s))::date AS first,
       date_trunc('month', %(now)s::timestamptz AT TIME ZONE %(zone)s)::date AS end;

-- name: what_if_tariffs
-- Tariffs to try.
SELECT t.tariff_id, t.code AS tariff, t.name, t.currency, t.yours, t.reason FROM what_if_tariffs(%(code)s, %(tariffs)s::text[], %(now)s) AS t;

-- name: what_if_spans
-- Spans of which energy is needed.
SELECT s.starts_at, s.ends_at FROM what_if_spans(%(code)s, %(tariffs)s, %(first)s, %(end)s) AS s;

-- name: what_if_months
-- How much of which month is known.
SELECT to_char(m.month, 'YYYY-MM') AS month, m.missing AS missing_count, m.unreactive AS unreactive_count, m.import_wh AS energy_import_wh, m.export_wh AS energy_export_wh
FROM what_if_months(%(code)s, %(energy)s) AS m;

-- name: what_if_rate
-- What they would have cost.
SELECT r.tariff_id, t.currency, CASE WHEN count(*) > count(r.total) THEN 'no_reactive' END AS reason,
       -- The sum of fewer months would be less, and no better.
       CASE WHEN count(*) = count(r.total) THEN money_text(sum(r.total), t.currency) END AS total_amount,
       coalesce(jsonb_agg(jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'total_amount', money_text(r.total, t.currency),
                                             'peak_kw', trim_scale(round(r.peak_kw, 6))::text) ORDER BY r.month) FILTER (WHERE r.total IS NOT NULL), '[]') AS months
FROM what_if_rate(%(code)s, %(tariffs)s, %(energy)s) AS r JOIN tariffs AS t USING (tariff_id)
GROUP BY r.tariff_id, t.currency, t.code ORDER BY t.code;
