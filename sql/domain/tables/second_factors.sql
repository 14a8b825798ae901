-- The second factor of a login: a secret that an app has too, and codes on paper for whoever lost the app.

CREATE TABLE IF NOT EXISTS second_factors (
    user_id integer PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    sealed_secret bytea NOT NULL,
    last_step bigint,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz CHECK (confirmed_at >= created_at),
    CONSTRAINT second_factors_confirmed_by_a_code CHECK ((confirmed_at IS NULL) = (last_step IS NULL))
);
COMMENT ON TABLE second_factors IS 'Time-based codes (RFC 6238) of users who have them, or are setting them up';
COMMENT ON COLUMN second_factors.user_id IS 'Whose it is';
COMMENT ON COLUMN second_factors.sealed_secret IS 'What the codes are made of, encrypted under a key that the database does not have';
COMMENT ON COLUMN second_factors.last_step IS 'Step of 30 s of the last code that was taken: none of that step or an earlier one is taken again';
COMMENT ON COLUMN second_factors.created_at IS 'When the secret was made';
COMMENT ON COLUMN second_factors.confirmed_at IS 'When a code first proved that the app has it: from then on logins ask for one; NULL before';
-- Not when a code is taken: that is not a change of what protects the account.
CREATE OR REPLACE TRIGGER second_factors_audit AFTER INSERT OR UPDATE OF sealed_secret, confirmed_at OR DELETE ON second_factors
    FOR EACH ROW EXECUTE FUNCTION audit_change('user_id');
-- Made and used by functions alone.

CREATE TABLE IF NOT EXISTS recovery_codes (
    user_id integer NOT NULL REFERENCES second_factors ON DELETE CASCADE,
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, code_hash)
);
COMMENT ON TABLE recovery_codes IS 'Codes that stand in for the app, each once';
COMMENT ON COLUMN recovery_codes.user_id IS 'Whose code it is';
COMMENT ON COLUMN recovery_codes.code_hash IS 'HMAC-SHA-256 of the code under a key of the server';
COMMENT ON COLUMN recovery_codes.used_at IS 'When it was used, once';
-- Made and used by functions alone.

CREATE TABLE IF NOT EXISTS second_factor_roles (
    role text PRIMARY KEY CHECK (role IN ('OPERATOR', 'ADMIN')),
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE second_factor_roles IS 'Roles whose users may do nothing until they have a second factor';
COMMENT ON COLUMN second_factor_roles.role IS 'OPERATOR or ADMIN';
COMMENT ON COLUMN second_factor_roles.created_at IS 'Since when';
CREATE OR REPLACE TRIGGER second_factor_roles_audit AFTER INSERT OR UPDATE OR DELETE ON second_factor_roles
    FOR EACH ROW EXECUTE FUNCTION audit_change('role');
-- The operator of the system says so; functions look.
