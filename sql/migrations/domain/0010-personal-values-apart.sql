-- What is personal in the audit log is kept apart from it from now on, and goes with its user. Rows that are there already
-- keep the values that their hashes cover.

CREATE TABLE audit_personal (
    user_id integer NOT NULL,
    value text NOT NULL,
    salt bytea NOT NULL CHECK (length(salt) = 16),
    digest text NOT NULL UNIQUE,
    PRIMARY KEY (user_id, value),
    CONSTRAINT audit_personal_digest_is_of_value CHECK (digest = encode(sha256(salt || convert_to(value, 'UTF8')), 'hex'))
);
ALTER TABLE audit_personal ENABLE ROW LEVEL SECURITY;
