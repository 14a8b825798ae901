-- Statements of the retention worker.

-- name: drop_expired_chunks
-- A few chunks that are older than their table's period. A worker whose clock is far ahead would drop everything: the
-- server's own has to agree.
SELECT dropped FROM drop_expired_chunks(%(limit)s, least(%(now)s, clock_timestamp())) AS dropped;

-- name: create_chunks_ahead
-- The next chunk of every hypertable, before the first row needs it.
SELECT create_chunks_ahead(%(now)s);
