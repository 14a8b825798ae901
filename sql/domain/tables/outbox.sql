-- Messages to people, written in the transaction that is their reason and delivered afterwards.

CREATE TABLE IF NOT EXISTS outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'web')),
    template text NOT NULL CHECK (template ~ '^[a-z][a-z0-9_]{0,62}$'),
    payload jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(payload) = 'object'),
    sealed_secret bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz CHECK (expires_at > created_at),
    delivered_at timestamptz CHECK (delivered_at >= created_at),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error text CHECK (last_error <> ''),
    CONSTRAINT outbox_secret_goes_with_delivery CHECK (delivered_at IS NULL OR sealed_secret IS NULL)
);
CREATE INDEX IF NOT EXISTS outbox_waiting_idx ON outbox (outbox_id) WHERE delivered_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_user_idx ON outbox (user_id, template, created_at);
CREATE INDEX IF NOT EXISTS outbox_done_idx ON outbox (coalesce(delivered_at, expires_at));
COMMENT ON TABLE outbox IS 'Messages to people: codes, warnings, bills';
COMMENT ON COLUMN outbox.outbox_id IS 'Row key; the order of messages';
COMMENT ON COLUMN outbox.user_id IS 'To whom';
COMMENT ON COLUMN outbox.channel IS 'email, sms, push or web';
COMMENT ON COLUMN outbox.template IS 'Which message';
COMMENT ON COLUMN outbox.payload IS 'What the template is filled with; no secret';
COMMENT ON COLUMN outbox.sealed_secret IS 'A code in it, encrypted under a key that the database does not have; NULL where there is none, or it was delivered';
COMMENT ON COLUMN outbox.created_at IS 'When it was written';
COMMENT ON COLUMN outbox.expires_at IS 'After this it is of no use and is not delivered; NULL for never';
COMMENT ON COLUMN outbox.delivered_at IS 'When the channel took it';
COMMENT ON COLUMN outbox.attempts IS 'How often it was tried';
COMMENT ON COLUMN outbox.last_error IS 'Why the last attempt failed';
COMMENT ON INDEX outbox_waiting_idx IS 'What is still to be delivered';
COMMENT ON INDEX outbox_done_idx IS 'Messages that were delivered, or are of no use any more, and may go';
COMMENT ON INDEX outbox_user_idx IS 'How much a person was sent lately';
-- The API writes it through functions alone, and reads none of it.
GRANT SELECT, UPDATE (sealed_secret, delivered_at, attempts, last_error), DELETE ON outbox TO segs_worker;
