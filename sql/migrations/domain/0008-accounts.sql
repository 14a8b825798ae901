-- Accounts: second factors, networks that people are known in, answers that are given again; codes that say what they prove,
-- and who asked for them.

CREATE TABLE second_factors (
    user_id integer PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    sealed_secret bytea NOT NULL,
    last_step bigint,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz CHECK (confirmed_at >= created_at),
    CONSTRAINT second_factors_confirmed_by_a_code CHECK ((confirmed_at IS NULL) = (last_step IS NULL))
);

CREATE TABLE recovery_codes (
    user_id integer NOT NULL REFERENCES second_factors ON DELETE CASCADE,
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, code_hash)
);

CREATE TABLE second_factor_roles (
    role text PRIMARY KEY CHECK (role IN ('OPERATOR', 'ADMIN')),
    created_at timestamptz NOT NULL
);

CREATE TABLE login_networks (
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    network text NOT NULL CHECK (network <> '' AND length(network) <= 60),
    last_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, network)
);
CREATE INDEX login_networks_last_at_idx ON login_networks (last_at);

CREATE TABLE idempotency_keys (
    caller text NOT NULL CHECK (caller <> '' AND length(caller) <= 60),
    key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
    request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
    sealed_secret bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    PRIMARY KEY (caller, key_hash)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);

ALTER TABLE second_factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE second_factor_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_networks ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE otp_verifications
    ADD COLUMN asked_from text NOT NULL DEFAULT '-',
    ADD COLUMN details jsonb CHECK (jsonb_typeof(details) = 'object'),
    ADD COLUMN strange_attempts smallint NOT NULL DEFAULT 0 CHECK (strange_attempts BETWEEN 0 AND 5);
DROP INDEX otp_verifications_open_key;
CREATE UNIQUE INDEX otp_verifications_open_key ON otp_verifications (user_id, purpose, asked_from)
    WHERE used_at IS NULL AND superseded_at IS NULL;

ALTER TABLE sessions
    DROP CONSTRAINT sessions_revoke_reason_check,
    ADD CONSTRAINT sessions_revoke_reason_check
        CHECK (revoke_reason IN ('logout', 'logout_all', 'reuse', 'suspended', 'password_changed', 'role_changed',
                                 'revoked', 'second_factor', 'deleted'));

ALTER TABLE user_preferences
    ADD COLUMN alert_rules_off text[] NOT NULL DEFAULT '{}'
        CONSTRAINT user_preferences_alert_rules_off_check
        CHECK (cardinality(alert_rules_off) <= 50 AND array_position(alert_rules_off, NULL) IS NULL
               AND array_to_string(alert_rules_off, ',') ~ '^([a-z][a-z0-9_]{0,62}(,[a-z][a-z0-9_]{0,62})*)?$'),
    ADD COLUMN power_threshold_w double precision CHECK (power_threshold_w > 0 AND power_threshold_w < 'infinity');

-- Their successors ask and answer more.
DROP FUNCTION IF EXISTS otp_subject(text);
DROP FUNCTION IF EXISTS otp_issue(integer, text, bytea, bytea, interval, timestamptz);
DROP FUNCTION IF EXISTS otp_check(integer, text, bytea, timestamptz);
DROP FUNCTION IF EXISTS email_verified(integer, bytea, bytea, interval, timestamptz);
DROP FUNCTION IF EXISTS login_begin(text, inet, timestamptz);
DROP FUNCTION IF EXISTS login_succeed(integer, text, bytea, text, inet, interval, timestamptz);
DROP FUNCTION IF EXISTS password_set(bytea, text, timestamptz);
DROP FUNCTION IF EXISTS session_enter(integer, uuid, uuid, text, timestamptz);
