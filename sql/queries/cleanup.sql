-- Statements of the cleanup, in the domain database.

-- name: clear_expired
-- Some of what is over. A worker whose clock is far ahead would end sessions: the server's own has to agree.
SELECT table_name, cleared FROM clear_expired(%(limit)s, least(%(now)s, clock_timestamp()));
