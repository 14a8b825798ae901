-- Answers to requests that came with an Idempotency-Key: whoever lost one gets it again, and nothing is done twice.

CREATE TABLE IF NOT EXISTS idempotency_keys (
    caller text NOT NULL CHECK (caller <> '' AND length(caller) <= 60),
    key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
    request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
    sealed_secret bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    PRIMARY KEY (caller, key_hash)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
COMMENT ON TABLE idempotency_keys IS 'What was answered to requests that may come again; written in the transaction that did what was asked';
COMMENT ON COLUMN idempotency_keys.caller IS 'Who asked: user:17, or nobody';
COMMENT ON COLUMN idempotency_keys.key_hash IS 'HMAC-SHA-256 of the key, under a key of the server';
COMMENT ON COLUMN idempotency_keys.request_hash IS 'HMAC-SHA-256 of method, path and body, under a key of the server: a body may have a password in it';
COMMENT ON COLUMN idempotency_keys.sealed_secret IS 'The answer, encrypted under a key that the database does not have';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When it was answered';
COMMENT ON COLUMN idempotency_keys.expires_at IS 'Until when the answer is given again';
COMMENT ON INDEX idempotency_keys_expires_at_idx IS 'Rows that may go';
-- Written and read by functions alone.
GRANT SELECT (expires_at), DELETE ON idempotency_keys TO segs_worker;
