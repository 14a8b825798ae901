-- What arrived since somebody looked last: batches say which transaction stored them, and between when their readings lie. Of
-- those that are there already nobody asks; the index leaves them out.

ALTER TABLE ingest_batches ADD COLUMN first_time timestamptz, ADD COLUMN last_time timestamptz, ADD COLUMN transaction_id xid8;
ALTER TABLE ingest_batches ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id();
ALTER TABLE ingest_batches ADD CONSTRAINT ingest_batches_times_are_a_span CHECK (last_time >= first_time);
CREATE INDEX ingest_batches_arrival_idx ON ingest_batches (gateway_id, transaction_id) WHERE transaction_id IS NOT NULL;
