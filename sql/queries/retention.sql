-- Statements of the retention worker.

-- name: drop_expired_chunks
-- A few chunks that are older than their table's period; none on the Community edition, which has jobs for it.
SELECT dropped FROM drop_expired_chunks(%(limit)s, %(now)s) AS dropped;

-- name: create_chunks_ahead
-- The next chunk of every hypertable, before the first row needs it.
SELECT create_chunks_ahead(%(now)s);
