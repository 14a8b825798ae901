-- People: whose a meter is, by time; proofs of an address, messages, limits, regions of operators. What the API's role may
-- is narrowed: it reads no hash, and of the rows those that are its caller's.

CREATE TABLE meter_owners (
    meter_owner_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    user_id integer NOT NULL REFERENCES users ON DELETE RESTRICT,
    valid tstzrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_owners_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_owners_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CREATE INDEX meter_owners_user_idx ON meter_owners (user_id, meter_id);

-- Nobody knows since when: what was said so far holds from the beginning of time.
INSERT INTO meter_owners (meter_id, user_id, valid, created_at, updated_at)
SELECT meter_id, user_id, tstzrange('-infinity', 'infinity'), created_at, updated_at FROM meters WHERE user_id IS NOT NULL;

-- Made anew: from the new table, and without the rights of segs_api.
DROP VIEW IF EXISTS meters_now, registry_gateways, registry_regions, registry_capacities, registry_devices, registry_epochs;
ALTER TABLE meters DROP COLUMN user_id;

CREATE TABLE operator_regions (
    operator_region_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT operator_regions_key UNIQUE (user_id, region)
);

CREATE TABLE password_proofs (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT password_proofs_live_at_most_15_minutes
        CHECK (expires_at > created_at AND expires_at <= created_at + INTERVAL '15 minutes'),
    CONSTRAINT password_proofs_used_in_time CHECK (used_at >= created_at AND used_at < expires_at)
);
CREATE INDEX password_proofs_user_idx ON password_proofs (user_id) WHERE used_at IS NULL;
CREATE INDEX password_proofs_expires_at_idx ON password_proofs (expires_at);

CREATE TABLE outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'web')),
    template text NOT NULL CHECK (template ~ '^[a-z][a-z0-9_]{0,62}$'),
    payload jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(payload) = 'object'),
    sealed_secret bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz CHECK (expires_at > created_at),
    delivered_at timestamptz CHECK (delivered_at >= created_at),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error text CHECK (last_error <> ''),
    CONSTRAINT outbox_secret_goes_with_delivery CHECK (delivered_at IS NULL OR sealed_secret IS NULL)
);
CREATE INDEX outbox_waiting_idx ON outbox (outbox_id) WHERE delivered_at IS NULL;
CREATE INDEX outbox_user_idx ON outbox (user_id, template, created_at);

CREATE TABLE rate_buckets (
    bucket text PRIMARY KEY CHECK (bucket <> '' AND length(bucket) <= 200),
    tokens double precision NOT NULL CHECK (tokens >= 0),
    allowed boolean NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX rate_buckets_updated_at_idx ON rate_buckets (updated_at);

ALTER TABLE gateways ADD COLUMN region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT;

REVOKE ALL ON users, user_preferences, otp_verifications, sessions, token_blacklist, registry_state FROM segs_api;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE operator_regions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE otp_verifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_blacklist ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_proofs ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE rate_buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE meter_locations ENABLE ROW LEVEL SECURITY;
ALTER TABLE meters ENABLE ROW LEVEL SECURITY;
ALTER TABLE meter_owners ENABLE ROW LEVEL SECURITY;
ALTER TABLE meter_exchanges ENABLE ROW LEVEL SECURITY;
ALTER TABLE devices ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateways ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE regions ENABLE ROW LEVEL SECURITY;
ALTER TABLE region_capacities ENABLE ROW LEVEL SECURITY;
ALTER TABLE tariffs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tariff_rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_line_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
