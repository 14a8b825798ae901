CREATE TABLE IF NOT EXISTS rate_buckets (
    bucket text PRIMARY KEY CHECK (bucket <> '' AND length(bucket) <= 200),
    tokens double precision NOT NULL CHECK (tokens >= 0),
    allowed boolean NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS rate_buckets_updated_at_idx ON rate_buckets (updated_at);
COMMENT ON TABLE rate_buckets IS 'How much each address and account may still ask for; common to all processes';
COMMENT ON COLUMN rate_buckets.bucket IS 'What is limited, and whom: login:address:192.0.2.1';
COMMENT ON COLUMN rate_buckets.tokens IS 'What was left at updated_at';
COMMENT ON COLUMN rate_buckets.allowed IS 'Whether the last one who asked got a token';
COMMENT ON COLUMN rate_buckets.updated_at IS 'When it was asked last';
COMMENT ON INDEX rate_buckets_updated_at_idx IS 'Buckets that are full again and may go';
-- The API takes tokens through a function alone.
GRANT SELECT (updated_at), DELETE ON rate_buckets TO segs_worker;
