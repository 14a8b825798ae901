-- Statements of the overdue worker, in the domain database.

-- name: claim
-- Whether it is this worker's turn; holds until the transaction ends.
SELECT claim_periodic_work('overdue', %(every)s, %(now)s);

-- name: overdue
-- Some of the bills that nobody paid in time. A worker whose clock is ahead would dun too early: the server's own has to agree.
SELECT bills_overdue(%(limit)s, least(%(now)s, clock_timestamp()));
