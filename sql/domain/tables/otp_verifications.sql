-- One-time codes. Only their keyed hash is here; wrong guesses are counted in the row, in the statement that compares.

CREATE TABLE IF NOT EXISTS otp_verifications (
    otp_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('verify_email', 'reset_password', 'change_email')),
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    asked_from text NOT NULL DEFAULT '-',
    details jsonb CHECK (jsonb_typeof(details) = 'object'),
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    strange_attempts smallint NOT NULL DEFAULT 0 CHECK (strange_attempts BETWEEN 0 AND 5),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    superseded_at timestamptz,
    CONSTRAINT otp_verifications_live_at_most_10_minutes
        CHECK (expires_at > created_at AND expires_at <= created_at + INTERVAL '10 minutes'),
    CONSTRAINT otp_verifications_used_in_time CHECK (used_at BETWEEN created_at AND expires_at),
    CONSTRAINT otp_verifications_used_or_superseded CHECK (used_at IS NULL OR superseded_at IS NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS otp_verifications_open_key ON otp_verifications (user_id, purpose, asked_from)
    WHERE used_at IS NULL AND superseded_at IS NULL;
CREATE INDEX IF NOT EXISTS otp_verifications_user_idx ON otp_verifications (user_id, purpose, created_at);
CREATE INDEX IF NOT EXISTS otp_verifications_expires_at_idx ON otp_verifications (expires_at);
COMMENT ON TABLE otp_verifications IS 'One-time codes sent to a user';
COMMENT ON COLUMN otp_verifications.otp_id IS 'Row key';
COMMENT ON COLUMN otp_verifications.user_id IS 'Whom the code was sent to';
COMMENT ON COLUMN otp_verifications.purpose IS 'What the code proves; it is good for nothing else';
COMMENT ON COLUMN otp_verifications.code_hash IS 'HMAC-SHA-256 of the code under a key of the server: six digits alone are guessed from a plain hash';
COMMENT ON COLUMN otp_verifications.asked_from IS 'Network that asked for the code, as network_of() says; - where none is known';
COMMENT ON COLUMN otp_verifications.details IS 'Name, phone and region of the registration that the code proves; NULL where it proves the address alone';
COMMENT ON COLUMN otp_verifications.attempts IS 'Wrong guesses from the network that asked for it, at most 5; the sum over its recent codes limits them too';
COMMENT ON COLUMN otp_verifications.strange_attempts IS 'Wrong guesses from elsewhere, at most 5; the sum over a user''s recent codes limits them too';
COMMENT ON COLUMN otp_verifications.created_at IS 'When the code was made';
COMMENT ON COLUMN otp_verifications.expires_at IS 'Until when it is good, at most 10 minutes';
COMMENT ON COLUMN otp_verifications.used_at IS 'When it was used, once';
COMMENT ON COLUMN otp_verifications.superseded_at IS 'When a newer code took its place';
COMMENT ON INDEX otp_verifications_open_key IS 'One open code per user, purpose and network that asked: nobody voids what somebody else was sent';
COMMENT ON INDEX otp_verifications_user_idx IS 'A user''s recent codes: wrong guesses are summed across them';
COMMENT ON INDEX otp_verifications_expires_at_idx IS 'Expired codes to clear away';
-- Made and compared by functions alone.
GRANT SELECT (otp_id, expires_at), DELETE ON otp_verifications TO segs_worker;
