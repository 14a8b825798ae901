CREATE TABLE IF NOT EXISTS token_blacklist (
    jti uuid PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    reason text NOT NULL CHECK (reason IN ('logout', 'revoked')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at)
);
CREATE INDEX IF NOT EXISTS token_blacklist_expires_at_idx ON token_blacklist (expires_at);
COMMENT ON TABLE token_blacklist IS 'Access tokens that are refused before they expire';
COMMENT ON COLUMN token_blacklist.jti IS 'Identity of the token, its jti claim';
COMMENT ON COLUMN token_blacklist.user_id IS 'Whose token it is';
COMMENT ON COLUMN token_blacklist.reason IS 'logout by its owner, or revoked';
COMMENT ON COLUMN token_blacklist.created_at IS 'When it was listed';
COMMENT ON COLUMN token_blacklist.expires_at IS 'When the token expires by itself and the row may go';
COMMENT ON INDEX token_blacklist_expires_at_idx IS 'Rows that may go';
CREATE OR REPLACE TRIGGER token_blacklist_access_insert AFTER INSERT ON token_blacklist REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE OR REPLACE TRIGGER token_blacklist_access_update AFTER UPDATE ON token_blacklist REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed('jti');
-- Written and asked by functions alone.
GRANT SELECT (jti, expires_at), DELETE ON token_blacklist TO segs_worker;
