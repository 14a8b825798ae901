-- Who has proven an address may set a password, once.

CREATE TABLE IF NOT EXISTS password_proofs (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT password_proofs_live_at_most_15_minutes
        CHECK (expires_at > created_at AND expires_at <= created_at + INTERVAL '15 minutes'),
    CONSTRAINT password_proofs_used_in_time CHECK (used_at >= created_at AND used_at < expires_at)
);
CREATE INDEX IF NOT EXISTS password_proofs_user_idx ON password_proofs (user_id) WHERE used_at IS NULL;
CREATE INDEX IF NOT EXISTS password_proofs_expires_at_idx ON password_proofs (expires_at);
COMMENT ON TABLE password_proofs IS 'Tokens by which a password may be set';
COMMENT ON COLUMN password_proofs.token_hash IS 'SHA-256 of the token, which is 256 random bits';
COMMENT ON COLUMN password_proofs.user_id IS 'Whose password';
COMMENT ON COLUMN password_proofs.created_at IS 'When it was given';
COMMENT ON COLUMN password_proofs.expires_at IS 'Until when it is good, at most 15 minutes';
COMMENT ON COLUMN password_proofs.used_at IS 'When it was used, once';
COMMENT ON INDEX password_proofs_user_idx IS 'A user''s open proofs: one password ends them all';
COMMENT ON INDEX password_proofs_expires_at_idx IS 'Rows that may go';
-- Made and used by functions alone.
GRANT SELECT (expires_at), DELETE ON password_proofs TO segs_worker;
