-- Messages to people, written in the transaction that is their reason and delivered afterwards.

CREATE TABLE IF NOT EXISTS outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'web', 'webhook')),
    template text NOT NULL CHECK (template ~ '^[a-z][a-z0-9_]{0,62}$'),
    payload jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(payload) = 'object'),
    sealed_secret bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz CHECK (expires_at > created_at),
    delivered_at timestamptz CHECK (delivered_at >= created_at),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error text CHECK (last_error <> ''),
    message_key uuid NOT NULL DEFAULT gen_random_uuid(),
    due_at timestamptz,
    leased_until timestamptz,
    for_digest boolean NOT NULL DEFAULT false,
    closed_at timestamptz CHECK (closed_at >= created_at),
    closed_as text CHECK (closed_as IN ('dead', 'expired', 'unwanted', 'digested')),
    CONSTRAINT outbox_message_key_key UNIQUE (message_key),
    CONSTRAINT outbox_secret_goes_with_delivery CHECK (delivered_at IS NULL OR sealed_secret IS NULL),
    CONSTRAINT outbox_secret_goes_with_expiry CHECK (closed_as IS NULL OR closed_as = 'dead' OR sealed_secret IS NULL),
    CONSTRAINT outbox_closed_as_something CHECK ((closed_at IS NULL) = (closed_as IS NULL)),
    CONSTRAINT outbox_ends_once CHECK (delivered_at IS NULL OR closed_at IS NULL)
);
CREATE INDEX IF NOT EXISTS outbox_waiting_idx ON outbox (channel, (coalesce(due_at, created_at)), outbox_id)
    WHERE delivered_at IS NULL AND closed_at IS NULL AND sealed_secret IS NULL;
CREATE INDEX IF NOT EXISTS outbox_codes_idx ON outbox (channel, (coalesce(due_at, created_at)), outbox_id)
    WHERE delivered_at IS NULL AND closed_at IS NULL AND sealed_secret IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_open_idx ON outbox (created_at) WHERE delivered_at IS NULL AND closed_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_sealed_idx ON outbox (expires_at) WHERE sealed_secret IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_user_idx ON outbox (user_id, template, created_at);
CREATE INDEX IF NOT EXISTS outbox_done_idx ON outbox (coalesce(delivered_at, closed_at, expires_at));
COMMENT ON TABLE outbox IS 'Messages to people: codes, warnings, bills';
COMMENT ON COLUMN outbox.outbox_id IS 'Row key; the order of messages';
COMMENT ON COLUMN outbox.user_id IS 'To whom';
COMMENT ON COLUMN outbox.channel IS 'email, sms, push, web or webhook';
COMMENT ON COLUMN outbox.template IS 'Which message';
COMMENT ON COLUMN outbox.payload IS 'What the template is filled with; no secret';
COMMENT ON COLUMN outbox.sealed_secret IS 'A code in it, encrypted under a key that the database does not have; NULL where there is none, or it was delivered, or is over';
COMMENT ON COLUMN outbox.created_at IS 'When it was written';
COMMENT ON COLUMN outbox.expires_at IS 'After this it is of no use and is not delivered; NULL for never';
COMMENT ON COLUMN outbox.delivered_at IS 'When the channel took it';
COMMENT ON COLUMN outbox.attempts IS 'How often it was tried; one that a worker did not survive counts';
COMMENT ON COLUMN outbox.last_error IS 'Why the last attempt failed';
COMMENT ON COLUMN outbox.message_key IS 'What the receiver knows it by: of two with the same key, one is a repetition';
COMMENT ON COLUMN outbox.due_at IS 'Not before this; NULL for at once';
COMMENT ON COLUMN outbox.leased_until IS 'Until then a worker has it, and no other takes it; by this server''s clock';
COMMENT ON COLUMN outbox.for_digest IS 'It was held back, and goes together with others of its kind';
COMMENT ON COLUMN outbox.closed_at IS 'When it was given up';
COMMENT ON COLUMN outbox.closed_as IS 'dead (refused for good; last_error says why), expired, unwanted (the person does not want it) or digested (another message has what it says)';
COMMENT ON INDEX outbox_waiting_idx IS 'What is still to be delivered, but for codes';
COMMENT ON INDEX outbox_codes_idx IS 'Codes that are still to be delivered';
COMMENT ON INDEX outbox_open_idx IS 'All that is still to be delivered, by age';
COMMENT ON INDEX outbox_sealed_idx IS 'Secrets, which go when their time is over';
COMMENT ON INDEX outbox_done_idx IS 'Messages that were delivered, or are of no use any more, and may go';
COMMENT ON INDEX outbox_user_idx IS 'How much a person was sent lately';
-- The API writes it through functions alone, and reads none of it.
-- Workers change it through functions alone, too.
GRANT SELECT ON outbox TO segs_worker;
