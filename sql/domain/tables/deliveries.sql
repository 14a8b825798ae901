-- What became of each attempt to deliver a message. Never what the message says.

CREATE TABLE IF NOT EXISTS deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    outbox_id bigint NOT NULL REFERENCES outbox ON DELETE CASCADE,
    channel text NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 0),
    attempted_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('delivered', 'deferred', 'dead', 'expired', 'unwanted', 'digested')),
    reply text CHECK (reply <> '' AND length(reply) <= 500)
);
CREATE INDEX IF NOT EXISTS deliveries_outbox_idx ON deliveries (outbox_id, delivery_id);
COMMENT ON TABLE deliveries IS 'The log of attempts to deliver messages';
COMMENT ON COLUMN deliveries.delivery_id IS 'Row key; the order of attempts';
COMMENT ON COLUMN deliveries.outbox_id IS 'The message';
COMMENT ON COLUMN deliveries.channel IS 'How it was to go';
COMMENT ON COLUMN deliveries.attempt IS 'Which attempt, from 1; 0 where it was given up before the first';
COMMENT ON COLUMN deliveries.attempted_at IS 'When the attempt ended';
COMMENT ON COLUMN deliveries.outcome IS 'delivered, deferred (it is tried again), or as what it was given up';
COMMENT ON COLUMN deliveries.reply IS 'What the server said, or why there was no attempt';
COMMENT ON INDEX deliveries_outbox_idx IS 'What became of a message';
GRANT SELECT ON deliveries TO segs_worker;
