-- Statements of `segs-cloud payment` and of providers' webhooks. Domain database.

-- name: record
-- Money that an operator has seen.
SELECT p.payment_id, p.created FROM payment_record(%(invoice)s, 'manual', %(reference)s, %(amount)s, %(currency)s, 'succeeded', %(method)s, NULL, %(at)s, %(now)s) AS p;

-- name: beyond
-- How much of a payment was more than was open.
SELECT coalesce(sum(-e.amount), 0) AS amount FROM ledger_postings AS p JOIN ledger_entries AS e USING (posting_id)
WHERE p.payment_id = %(payment)s AND p.kind = 'payment' AND e.account = 'balance';

-- name: reverse
-- Money that was recorded by hand and was taken back.
SELECT payment_take_back(%(invoice)s, %(reference)s, NULL, %(at)s, %(now)s);

-- name: refund
-- Money that went back.
SELECT credit_refund(%(invoice)s, 'manual', %(reference)s, %(amount)s, %(method)s, NULL, %(now)s);

-- name: begun
-- A payment that a customer has begun.
SELECT p.amount, p.currency, p.occurred_at, i.invoice_number AS invoice
FROM payment_transactions AS p JOIN invoices AS i USING (invoice_id)
WHERE p.provider = %(provider)s AND p.provider_reference = %(reference)s AND p.kind = 'payment';

-- name: event
-- What a provider tells, once.
SELECT e.payment_id, e.repeated
FROM payment_event(%(provider)s, %(event_id)s, %(sha256)s, %(invoice_number)s, %(reference)s, %(amount)s, %(currency)s, %(status)s, %(occurred_at)s, %(now)s) AS e;
