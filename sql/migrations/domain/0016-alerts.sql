-- Alerts are raised from now on: rules as data, states, what became of each alert, maintenance, and what meters are rated for.
-- No release wrote alerts before; what is there of somebody's tries goes.

DELETE FROM alerts;
REVOKE INSERT, UPDATE ON alerts FROM segs_worker;
REVOKE UPDATE ON alerts FROM segs_api;
ALTER TABLE meters
    ADD COLUMN nominal_voltage_v double precision NOT NULL DEFAULT 230 CHECK (nominal_voltage_v > 0 AND nominal_voltage_v < 'infinity'),
    ADD COLUMN phases smallint CHECK (phases BETWEEN 1 AND 7),
    ADD COLUMN rated_power_w double precision CHECK (rated_power_w > 0 AND rated_power_w < 'infinity'),
    ADD COLUMN exports boolean;

CREATE TABLE alert_metrics (
    metric text PRIMARY KEY CHECK (metric ~ '^[a-z][a-z0-9_]{0,62}$'),
    subject text NOT NULL CHECK (subject IN ('meter', 'gateway', 'region')),
    step_min smallint NOT NULL CHECK (step_min IN (0, 1, 15)),
    unit text NOT NULL,
    title text NOT NULL CHECK (title <> '')
);

CREATE TABLE alert_rules (
    alert_rule_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL CHECK (rule ~ '^[a-z][a-z0-9_]{0,62}$'),
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    meter_id integer REFERENCES meters ON DELETE RESTRICT,
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity'),
    metric text NOT NULL REFERENCES alert_metrics,
    above boolean NOT NULL,
    raise_at double precision CHECK (raise_at > '-infinity' AND raise_at < 'infinity'),
    clear_at double precision CHECK (clear_at > '-infinity' AND clear_at < 'infinity'),
    worse_at double precision CHECK (worse_at > '-infinity' AND worse_at < 'infinity'),
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    worse_severity text CHECK (worse_severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    worse_after_s integer CHECK (worse_after_s > 0),
    window_min integer NOT NULL CHECK (window_min BETWEEN 1 AND 1440 AND 1440 % window_min = 0),
    for_s integer NOT NULL DEFAULT 0 CHECK (for_s BETWEEN 0 AND 2592000),
    keep_s integer NOT NULL DEFAULT 0 CHECK (keep_s BETWEEN 0 AND 2592000),
    hold_s integer NOT NULL DEFAULT 0 CHECK (hold_s BETWEEN 0 AND 86400),
    min_load_percent double precision CHECK (min_load_percent > 0 AND min_load_percent <= 100),
    rating_percent double precision CHECK (rating_percent > 0 AND rating_percent <= 100),
    category text NOT NULL CHECK (category IN ('supply', 'load', 'consumption', 'tamper', 'data')),
    tells_owner boolean NOT NULL DEFAULT true,
    tells_operators boolean NOT NULL DEFAULT true,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alert_rules_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT alert_rules_have_one_scope CHECK (num_nonnulls(region, meter_id) <= 1),
    CONSTRAINT alert_rules_raise_and_clear CHECK ((raise_at IS NULL) = (clear_at IS NULL)),
    CONSTRAINT alert_rules_worse_than_what CHECK ((worse_severity IS NULL) = (num_nonnulls(worse_at, worse_after_s) = 0)),
    CONSTRAINT alert_rules_thresholds_in_order CHECK (CASE WHEN above THEN clear_at <= raise_at AND (worse_at IS NULL OR raise_at <= worse_at)
                                                           ELSE clear_at >= raise_at AND (worse_at IS NULL OR raise_at >= worse_at) END),
    CONSTRAINT alert_rules_one_at_a_time EXCLUDE USING gist (rule WITH =, (coalesce(region, '')) WITH =, (coalesce(meter_id, 0)) WITH =, valid WITH &&)
);

CREATE INDEX alert_rules_meter_idx ON alert_rules (meter_id) WHERE meter_id IS NOT NULL;

CREATE TABLE alert_groups (
    rule text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('gateway', 'site', 'region')),
    group_rule text NOT NULL CHECK (group_rule ~ '^[a-z][a-z0-9_]{0,62}$'),
    at_least integer NOT NULL CHECK (at_least >= 2),
    share_percent double precision NOT NULL CHECK (share_percent >= 0 AND share_percent <= 100),
    within_s integer CHECK (within_s > 0),
    by_site boolean NOT NULL DEFAULT false,
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    title text NOT NULL CHECK (title <> ''),
    PRIMARY KEY (rule, scope),
    CONSTRAINT alert_groups_group_rule_key UNIQUE (group_rule)
);

ALTER TABLE alerts
    DROP CONSTRAINT alerts_fired_unless_pending,
    DROP CONSTRAINT alerts_state_check,
    ADD CONSTRAINT alerts_state_check CHECK (state IN ('firing', 'clearing', 'resolved')),
    ALTER COLUMN fired_at SET NOT NULL,
    ADD COLUMN alert_rule_id integer REFERENCES alert_rules ON DELETE RESTRICT,
    ADD COLUMN subject text NOT NULL GENERATED ALWAYS AS (CASE WHEN meter_id IS NOT NULL THEN 'meter ' || meter_id WHEN gateway_id IS NOT NULL THEN 'gateway ' || gateway_id
        WHEN region IS NOT NULL THEN 'region ' || region ELSE 'site ' || site END) STORED,
    ADD COLUMN category text NOT NULL CHECK (category IN ('supply', 'load', 'consumption', 'tamper', 'data')),
    ADD COLUMN part_of bigint REFERENCES alerts ON DELETE RESTRICT,
    ADD COLUMN flapping boolean NOT NULL DEFAULT false,
    ADD COLUMN late boolean NOT NULL DEFAULT false,
    ADD COLUMN tell_at timestamptz,
    ADD COLUMN told_at timestamptz,
    ADD COLUMN told_severity text CHECK (told_severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    ADD COLUMN escalations smallint NOT NULL DEFAULT 0 CHECK (escalations BETWEEN 0 AND 2),
    ADD CONSTRAINT alerts_told_of_something CHECK ((told_at IS NULL) = (told_severity IS NULL)),
    ADD CONSTRAINT alerts_late_are_not_told CHECK (NOT late OR num_nonnulls(tell_at, told_at) = 0);
CREATE INDEX alerts_subject_idx ON alerts (subject, rule, started_at);
CREATE INDEX alerts_open_idx ON alerts (alert_id) WHERE state <> 'resolved';
CREATE INDEX alerts_tell_idx ON alerts (tell_at) WHERE tell_at IS NOT NULL;

CREATE TABLE alert_states (
    alert_state_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    alert_rule_id integer NOT NULL REFERENCES alert_rules ON DELETE RESTRICT,
    meter_id integer REFERENCES meters ON DELETE CASCADE,
    gateway_id integer REFERENCES gateways ON DELETE CASCADE,
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE CASCADE,
    subject text NOT NULL GENERATED ALWAYS AS (CASE WHEN meter_id IS NOT NULL THEN 'meter ' || meter_id WHEN gateway_id IS NOT NULL THEN 'gateway ' || gateway_id
        ELSE 'region ' || region END) STORED,
    phase smallint NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 3),
    state text NOT NULL CHECK (state IN ('pending', 'firing', 'clearing', 'dismissed')),
    since timestamptz NOT NULL,
    cleared_since timestamptz,
    seen_until timestamptz NOT NULL,
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 3),
    value double precision NOT NULL,
    threshold double precision NOT NULL,
    alert_id bigint REFERENCES alerts ON DELETE CASCADE,
    CONSTRAINT alert_states_have_one_subject CHECK (num_nonnulls(meter_id, gateway_id, region) = 1),
    CONSTRAINT alert_states_key UNIQUE (subject, rule, phase)
) WITH (fillfactor = 70);

CREATE INDEX alert_states_meter_idx ON alert_states (meter_id) WHERE meter_id IS NOT NULL;

CREATE INDEX alert_states_rule_idx ON alert_states (rule);

CREATE INDEX alert_states_alert_idx ON alert_states (alert_id) WHERE alert_id IS NOT NULL;

CREATE TABLE alert_events (
    alert_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL REFERENCES alerts ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('fired', 'worse', 'clearing', 'again', 'resolved', 'joined', 'flapping', 'told', 'muted', 'escalated',
                                       'acknowledged', 'commented', 'closed')),
    event_at timestamptz NOT NULL,
    user_id integer REFERENCES users ON DELETE RESTRICT,
    text text CHECK (text <> '' AND length(text) <= 2000),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alert_events_by_somebody CHECK ((kind IN ('acknowledged', 'commented', 'closed')) = (user_id IS NOT NULL)),
    CONSTRAINT alert_events_comment_says_something CHECK (kind <> 'commented' OR text IS NOT NULL)
);

CREATE INDEX alert_events_alert_idx ON alert_events (alert_id, alert_event_id);

CREATE TABLE maintenance_windows (
    maintenance_window_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer REFERENCES meters ON DELETE CASCADE,
    gateway_id integer REFERENCES gateways ON DELETE CASCADE,
    site text CHECK (site <> ''),
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE CASCADE,
    valid tstzrange NOT NULL CHECK (NOT isempty(valid) AND lower_inc(valid) AND NOT upper_inc(valid) AND upper(valid) < 'infinity' AND lower(valid) > '-infinity'),
    reason text NOT NULL CHECK (reason <> '' AND length(reason) <= 500),
    created_by integer REFERENCES users ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT maintenance_windows_have_one_subject CHECK (num_nonnulls(meter_id, gateway_id, site, region) = 1)
);

CREATE INDEX maintenance_windows_valid_idx ON maintenance_windows USING gist (valid);

ALTER TABLE alert_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE maintenance_windows ENABLE ROW LEVEL SECURITY;
