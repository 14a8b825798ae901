-- Statements of the overdue worker, in the domain database.

-- name: overdue
-- Some of the bills that nobody paid in time. A worker whose clock is ahead would dun too early: the server's own has to agree.
SELECT bills_overdue(%(limit)s, least(%(now)s, clock_timestamp()));
