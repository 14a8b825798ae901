-- Statements of the cleanup, in the domain database.

-- name: claim
-- Whether it is this worker's turn; holds until the transaction ends.
SELECT claim_periodic_work('cleanup', %(every)s, %(now)s);

-- name: clear_expired
-- Some of what is over. A worker whose clock is far ahead would end sessions: the server's own has to agree.
SELECT table_name, cleared FROM clear_expired(%(limit)s, least(%(now)s, clock_timestamp()));
