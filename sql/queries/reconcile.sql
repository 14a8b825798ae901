-- Statements of the reconciliation.

-- name: claim
-- Whether it is this worker's turn; holds until the transaction ends.
SELECT claim_periodic_work(%(kind)s, %(every)s, %(now)s);

-- name: reconcile_minutes
-- Compare aggregates_1m with cagg_1m.
SELECT minutes, mismatches FROM reconcile_minutes(%(from)s, %(to)s, %(now)s);
