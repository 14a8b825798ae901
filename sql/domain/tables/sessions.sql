-- Refresh tokens: opaque, hashed, rotated within the family of one login. A rotated token that comes again revokes the family.

CREATE TABLE IF NOT EXISTS sessions (
    session_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    family_id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user_agent text CHECK (length(user_agent) <= 500),
    address inet,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    rotated_at timestamptz CHECK (rotated_at >= created_at),
    revoked_at timestamptz CHECK (revoked_at >= created_at),
    revoke_reason text CHECK (revoke_reason IN ('logout', 'logout_all', 'reuse', 'suspended', 'password_changed', 'role_changed',
                                                        'revoked', 'second_factor', 'deleted')),
    CONSTRAINT sessions_revoked_for_a_reason CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS sessions_live_key ON sessions (family_id) WHERE rotated_at IS NULL AND revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS sessions_user_idx ON sessions (user_id) WHERE revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS sessions_family_idx ON sessions (family_id, session_id);
CREATE INDEX IF NOT EXISTS sessions_expires_at_idx ON sessions (expires_at);
COMMENT ON TABLE sessions IS 'One row per refresh token ever given and not yet cleared away';
COMMENT ON COLUMN sessions.session_id IS 'Row key';
COMMENT ON COLUMN sessions.family_id IS 'The login that this token descends from';
COMMENT ON COLUMN sessions.user_id IS 'Whose session it is';
COMMENT ON COLUMN sessions.token_hash IS 'SHA-256 of the token, which is 256 random bits';
COMMENT ON COLUMN sessions.user_agent IS 'Browser or program, as it named itself';
COMMENT ON COLUMN sessions.address IS 'Address the token was asked for from';
COMMENT ON COLUMN sessions.created_at IS 'When the token was given';
COMMENT ON COLUMN sessions.expires_at IS 'Until when it can be exchanged';
COMMENT ON COLUMN sessions.rotated_at IS 'When it was exchanged for its successor';
COMMENT ON COLUMN sessions.revoked_at IS 'When it was revoked';
COMMENT ON COLUMN sessions.revoke_reason IS 'Why it was revoked';
COMMENT ON INDEX sessions_live_key IS 'One live token per family';
COMMENT ON INDEX sessions_family_idx IS 'The tokens of a login, its first one first';
COMMENT ON INDEX sessions_user_idx IS 'A user''s sessions';
COMMENT ON INDEX sessions_expires_at_idx IS 'Expired tokens to clear away';
-- Of rotated_at nothing is told: the next token is there in the same transaction, and the session stands.
CREATE OR REPLACE TRIGGER sessions_access_update AFTER UPDATE ON sessions REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed('family_id', 'created_at', 'expires_at', 'revoked_at');
CREATE OR REPLACE TRIGGER sessions_access_delete AFTER DELETE ON sessions REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE OR REPLACE TRIGGER sessions_access_truncate AFTER TRUNCATE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION access_changed_for_all();
-- Made, rotated and revoked by functions alone; a person may see where else they are logged in.
GRANT SELECT (session_id, family_id, user_id, user_agent, address, created_at, expires_at, rotated_at, revoked_at,
              revoke_reason) ON sessions TO segs_api;
GRANT SELECT (session_id, expires_at), DELETE ON sessions TO segs_worker;
