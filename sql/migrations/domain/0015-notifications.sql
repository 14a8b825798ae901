-- Messages are delivered from now on. What waits was written when nobody delivered anything: it is closed, so that nobody
-- gets the codes and warnings of years at once.

ALTER TABLE outbox
    ADD COLUMN message_key uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN due_at timestamptz,
    ADD COLUMN leased_until timestamptz,
    ADD COLUMN for_digest boolean NOT NULL DEFAULT false,
    ADD COLUMN closed_at timestamptz CHECK (closed_at >= created_at),
    ADD COLUMN closed_as text CHECK (closed_as IN ('dead', 'expired', 'unwanted', 'digested')),
    DROP CONSTRAINT outbox_channel_check,
    ADD CONSTRAINT outbox_channel_check CHECK (channel IN ('email', 'sms', 'push', 'web', 'webhook'));
UPDATE outbox SET closed_at = greatest(clock_timestamp(), created_at), closed_as = 'expired', sealed_secret = NULL,
                  last_error = 'written before messages were delivered'
 WHERE delivered_at IS NULL;
ALTER TABLE outbox
    ADD CONSTRAINT outbox_message_key_key UNIQUE (message_key),
    ADD CONSTRAINT outbox_secret_goes_with_expiry CHECK (closed_as IS NULL OR closed_as = 'dead' OR sealed_secret IS NULL),
    ADD CONSTRAINT outbox_closed_as_something CHECK ((closed_at IS NULL) = (closed_as IS NULL)),
    ADD CONSTRAINT outbox_ends_once CHECK (delivered_at IS NULL OR closed_at IS NULL);
DROP INDEX outbox_waiting_idx, outbox_done_idx;
CREATE INDEX outbox_waiting_idx ON outbox (channel, (coalesce(due_at, created_at)), outbox_id)
    WHERE delivered_at IS NULL AND closed_at IS NULL AND sealed_secret IS NULL;
CREATE INDEX outbox_codes_idx ON outbox (channel, (coalesce(due_at, created_at)), outbox_id)
    WHERE delivered_at IS NULL AND closed_at IS NULL AND sealed_secret IS NOT NULL;
CREATE INDEX outbox_open_idx ON outbox (created_at) WHERE delivered_at IS NULL AND closed_at IS NULL;
CREATE INDEX outbox_sealed_idx ON outbox (expires_at) WHERE sealed_secret IS NOT NULL;
CREATE INDEX outbox_done_idx ON outbox (coalesce(delivered_at, closed_at, expires_at));
REVOKE UPDATE (sealed_secret, delivered_at, attempts, last_error), DELETE ON outbox FROM segs_worker;

CREATE TABLE deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    outbox_id bigint NOT NULL REFERENCES outbox ON DELETE CASCADE,
    channel text NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 0),
    attempted_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('delivered', 'deferred', 'dead', 'expired', 'unwanted', 'digested')),
    reply text CHECK (reply <> '' AND length(reply) <= 500)
);
CREATE INDEX deliveries_outbox_idx ON deliveries (outbox_id, delivery_id);
ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
