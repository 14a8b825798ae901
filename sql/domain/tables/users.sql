-- People. A person who leaves is anonymised, never deleted: invoices must outlive the account.

CREATE TABLE IF NOT EXISTS users (
    user_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text CHECK (email = lower(email) AND email ~ '^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$' AND length(email) <= 254),
    name text CHECK (name <> '' AND length(name) <= 200),
    phone text CHECK (phone ~ '^[+][1-9][0-9]{6,14}$'),
    region text REFERENCES regions ON UPDATE CASCADE,
    role text NOT NULL DEFAULT 'USER' CHECK (role IN ('USER', 'OPERATOR', 'ADMIN')),
    password_hash text CHECK (password_hash LIKE '$argon2id$%'),
    email_verified_at timestamptz,
    tokens_valid_from timestamptz NOT NULL DEFAULT '-infinity',
    suspended_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT users_email_unless_deleted CHECK ((deleted_at IS NULL) = (email IS NOT NULL)),
    CONSTRAINT users_name_unless_deleted CHECK ((deleted_at IS NULL) = (name IS NOT NULL)),
    CONSTRAINT users_nothing_personal_after_deletion CHECK (deleted_at IS NULL OR (phone IS NULL AND password_hash IS NULL)),
    CONSTRAINT users_password_needs_verified_email CHECK (password_hash IS NULL OR email_verified_at IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON users (email);
CREATE INDEX IF NOT EXISTS users_region_idx ON users (region) WHERE deleted_at IS NULL;
COMMENT ON TABLE users IS 'People who may log in: customers, operators, admins';
COMMENT ON COLUMN users.user_id IS 'Row key';
COMMENT ON COLUMN users.email IS 'Address the user logs in with, lower case; NULL once the account is deleted';
COMMENT ON COLUMN users.name IS 'Name for letters and bills; NULL once the account is deleted';
COMMENT ON COLUMN users.phone IS 'E.164 number';
COMMENT ON COLUMN users.region IS 'Where the user said to live; prices go by the meter''s region, never by this one';
COMMENT ON COLUMN users.role IS 'USER sees own meters, OPERATOR the regions given, ADMIN all';
COMMENT ON COLUMN users.password_hash IS 'argon2id in its encoded form; NULL until a password was set with proof of the address';
COMMENT ON COLUMN users.email_verified_at IS 'When the address was proven';
COMMENT ON COLUMN users.tokens_valid_from IS 'Tokens issued before are refused: set by logout-all, suspension, a change of role or password';
COMMENT ON COLUMN users.suspended_at IS 'Since when the user may not log in; NULL while active';
COMMENT ON COLUMN users.deleted_at IS 'When the account was deleted and the row anonymised';
COMMENT ON COLUMN users.created_at IS 'When the row was made';
COMMENT ON COLUMN users.updated_at IS 'When the row changed last';
COMMENT ON INDEX users_email_key IS 'One account per address';
COMMENT ON INDEX users_region_idx IS 'People of a region';
CREATE OR REPLACE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER users_preferences AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION add_user_preferences();
CREATE OR REPLACE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION audit_change('user_id', 'email', 'name', 'phone', 'region');
CREATE OR REPLACE TRIGGER users_access_update AFTER UPDATE ON users REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed('role', 'suspended_at', 'deleted_at', 'tokens_valid_from');
CREATE OR REPLACE TRIGGER users_access_delete AFTER DELETE ON users REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION access_changed();
CREATE OR REPLACE TRIGGER users_access_truncate AFTER TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION access_changed_for_all();
-- Passwords, roles, suspensions and addresses change through functions alone, and no hash is read but by them.
GRANT SELECT (user_id, email, name, phone, region, role, email_verified_at, tokens_valid_from, suspended_at, deleted_at,
              created_at, updated_at), UPDATE (name, phone) ON users TO segs_api;
GRANT SELECT (user_id, email, name, phone, region, role, email_verified_at, tokens_valid_from, suspended_at, deleted_at,
              created_at, updated_at) ON users TO segs_worker, segs_readonly;
