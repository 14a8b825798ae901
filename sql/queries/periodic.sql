-- Work that one worker does every so often, in the domain database.

-- name: claim
-- Whether it is this worker's turn; holds until the transaction ends.
SELECT claim_periodic_work(%(name)s, %(every)s, %(now)s);
