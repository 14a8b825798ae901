-- What alerts are raised for, as data. A rule is a measure, thresholds and times; measures are what this release can work out.

CREATE TABLE IF NOT EXISTS alert_metrics (
    metric text PRIMARY KEY CHECK (metric ~ '^[a-z][a-z0-9_]{0,62}$'),
    subject text NOT NULL CHECK (subject IN ('meter', 'gateway', 'region')),
    step_min smallint NOT NULL CHECK (step_min IN (0, 1, 15)),
    unit text NOT NULL,
    title text NOT NULL CHECK (title <> '')
);
COMMENT ON TABLE alert_metrics IS 'What rules may measure';
COMMENT ON COLUMN alert_metrics.metric IS 'Name in rules';
COMMENT ON COLUMN alert_metrics.subject IS 'What it is measured of: a meter, a gateway or a region';
COMMENT ON COLUMN alert_metrics.step_min IS 'What it is worked out from: 1 minutes, 15 quarter-hours, 0 what was heard last, by the clock';
COMMENT ON COLUMN alert_metrics.unit IS 'Unit of its values and thresholds';
COMMENT ON COLUMN alert_metrics.title IS 'What it is, for people';
INSERT INTO alert_metrics (metric, subject, step_min, unit, title) VALUES
    ('voltage_percent', 'meter', 1, '%', 'Voltage in percent of nominal'),
    ('frequency_hz', 'meter', 1, 'Hz', 'Frequency'),
    ('phase_lost_s', 'meter', 1, 's', 'Time without voltage while another phase has it'),
    ('unbalance_percent', 'meter', 1, '%', 'Unbalance of voltages'),
    ('power_factor', 'meter', 1, '', 'Power factor'),
    ('load_percent', 'meter', 1, '%', 'Power in percent of the rating'),
    ('power_w', 'meter', 1, 'W', 'Power'),
    ('reverse_power_w', 'meter', 1, 'W', 'Power fed in where nothing is meant to feed in'),
    ('register_backwards', 'meter', 1, 'reads', 'Register reads below the one before'),
    ('stuck_power_w', 'meter', 1, 'W', 'Distance of a power that does not change from what the register says'),
    ('stuck_register_wh', 'meter', 1, 'Wh', 'Energy that power says and the register does not'),
    ('day_energy_wh', 'meter', 15, 'Wh', 'Energy of the local day so far'),
    ('idle_h', 'meter', 15, 'h', 'Time with voltage and without consumption'),
    ('usage_percent', 'meter', 15, '%', 'Energy over what is usual'),
    ('silent_intervals', 'meter', 0, 'intervals', 'Time without a reading'),
    ('clock_off_s', 'gateway', 0, 's', 'Error of the gateway''s clock'),
    ('gateway_troubles', 'gateway', 0, 'troubles', 'Troubles that the gateway tells of'),
    ('region_load_percent', 'region', 15, '%', 'Load of the region in percent of its capacity')
ON CONFLICT (metric) DO UPDATE SET subject = excluded.subject, step_min = excluded.step_min, unit = excluded.unit, title = excluded.title;
GRANT SELECT ON alert_metrics TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS alert_rules (
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
CREATE INDEX IF NOT EXISTS alert_rules_meter_idx ON alert_rules (meter_id) WHERE meter_id IS NOT NULL;
COMMENT ON TABLE alert_rules IS 'Rules that raise alerts (effective-dated): for all, for a region in their place, or for a meter in place of both';
COMMENT ON COLUMN alert_rules.alert_rule_id IS 'Row key';
COMMENT ON COLUMN alert_rules.rule IS 'Name of the rule: its versions, and what replaces it in regions and at meters, have the same';
COMMENT ON COLUMN alert_rules.region IS 'The region it is for; NULL for all';
COMMENT ON COLUMN alert_rules.meter_id IS 'The meter it is for; NULL for all';
COMMENT ON COLUMN alert_rules.valid IS 'When it is in force, half-open';
COMMENT ON COLUMN alert_rules.metric IS 'What is measured';
COMMENT ON COLUMN alert_rules.above IS 'Whether it is raised above its threshold, or below it';
COMMENT ON COLUMN alert_rules.raise_at IS 'Threshold that raises it, in the metric''s unit; NULL where only overrides have one';
COMMENT ON COLUMN alert_rules.clear_at IS 'Threshold at which it is over again';
COMMENT ON COLUMN alert_rules.worse_at IS 'Threshold beyond which it is of worse_severity';
COMMENT ON COLUMN alert_rules.severity IS 'low, medium, warning, high or critical';
COMMENT ON COLUMN alert_rules.worse_severity IS 'Severity beyond worse_at, and after worse_after_s';
COMMENT ON COLUMN alert_rules.worse_after_s IS 'How long after it began it is of worse_severity, seconds, whatever the value';
COMMENT ON COLUMN alert_rules.window_min IS 'Minutes that are measured together, aligned to UTC midnight';
COMMENT ON COLUMN alert_rules.for_s IS 'How long it has to last before it fires, seconds, the first window included';
COMMENT ON COLUMN alert_rules.keep_s IS 'How long it has to be over before it is resolved, seconds';
COMMENT ON COLUMN alert_rules.hold_s IS 'How long after it fired people are told, seconds: meanwhile it may turn out to be part of something larger';
COMMENT ON COLUMN alert_rules.min_load_percent IS 'It holds only above this load, percent of the meter''s rating';
COMMENT ON COLUMN alert_rules.rating_percent IS 'The threshold is at least this share of the meter''s rating, percent';
COMMENT ON COLUMN alert_rules.category IS 'supply (what the grid delivers), load, consumption, tamper, or data (what meters and gateways tell)';
COMMENT ON COLUMN alert_rules.tells_owner IS 'Whether whose meter it is is told';
COMMENT ON COLUMN alert_rules.tells_operators IS 'Whether operators of the region are told';
COMMENT ON COLUMN alert_rules.enabled IS 'Whether it is evaluated';
COMMENT ON COLUMN alert_rules.created_at IS 'When the row was made';
COMMENT ON COLUMN alert_rules.updated_at IS 'When the row changed last';
COMMENT ON INDEX alert_rules_one_at_a_time IS 'A rule has one version at a time for each of those it is for';
COMMENT ON INDEX alert_rules_meter_idx IS 'Overrides of a meter';
CREATE OR REPLACE TRIGGER alert_rules_touch BEFORE UPDATE ON alert_rules FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER alert_rules_audit AFTER INSERT OR UPDATE OR DELETE ON alert_rules
    FOR EACH ROW EXECUTE FUNCTION audit_change('alert_rule_id');
-- Written by functions alone, which keep what was.
GRANT SELECT ON alert_rules TO segs_api, segs_worker, segs_readonly;

-- What comes with the release, and is nobody's deed for the log to know. Whoever ended or changed one of them keeps what they
-- made of it.
ALTER TABLE alert_rules DISABLE TRIGGER USER;
INSERT INTO alert_rules (rule, metric, above, raise_at, clear_at, worse_at, severity, worse_severity, worse_after_s, window_min, for_s, keep_s, hold_s, min_load_percent, rating_percent,
                         category, tells_owner, tells_operators)
SELECT n.*
  FROM (VALUES
    ('under_voltage', 'voltage_percent', false, 90, 91, 85, 'warning', 'critical', NULL::integer, 10, 0, 600, 0, NULL::double precision, NULL::double precision, 'supply', true, true),
    ('over_voltage', 'voltage_percent', true, 110, 109, NULL, 'critical', NULL, NULL, 10, 0, 600, 0, NULL, NULL, 'supply', true, true),
    ('under_frequency', 'frequency_hz', false, 49.5, 49.55, NULL, 'warning', NULL, NULL, 1, 60, 60, 60, NULL, NULL, 'supply', false, true),
    ('over_frequency', 'frequency_hz', true, 50.5, 50.45, NULL, 'warning', NULL, NULL, 1, 60, 60, 60, NULL, NULL, 'supply', false, true),
    ('phase_loss', 'phase_lost_s', true, 9.999, 0, NULL, 'critical', NULL, NULL, 1, 0, 60, 0, NULL, NULL, 'supply', true, true),
    ('unbalance', 'unbalance_percent', true, 3, 2.5, NULL, 'warning', NULL, NULL, 10, 0, 600, 0, NULL, NULL, 'supply', false, true),
    ('low_power_factor', 'power_factor', false, 0.90, 0.91, NULL, 'warning', NULL, NULL, 15, 0, 900, 0, 20, NULL, 'load', true, true),
    ('overload', 'load_percent', true, 80, 75, 100, 'warning', 'critical', NULL, 15, 0, 900, 0, NULL, NULL, 'load', true, true),
    ('high_power', 'power_w', true, NULL, NULL, NULL, 'medium', NULL, NULL, 15, 0, 900, 0, NULL, NULL, 'consumption', true, false),
    ('high_consumption', 'day_energy_wh', true, NULL, NULL, NULL, 'medium', NULL, NULL, 15, 0, 0, 0, NULL, NULL, 'consumption', true, false),
    ('no_consumption', 'idle_h', true, 23.99, 0, NULL, 'medium', NULL, NULL, 60, 0, 0, 0, NULL, NULL, 'consumption', true, false),
    ('consumption_spike', 'usage_percent', true, 100, 80, NULL, 'medium', NULL, NULL, 60, 0, 3600, 0, NULL, NULL, 'consumption', true, false),
    ('consumption_drop', 'usage_percent', false, -50, -40, NULL, 'low', NULL, NULL, 60, 0, 3600, 0, NULL, NULL, 'consumption', true, false),
    ('reverse_power', 'reverse_power_w', true, 50, 40, NULL, 'high', NULL, NULL, 1, 300, 300, 0, NULL, 1, 'tamper', false, true),
    ('register_backwards', 'register_backwards', true, 0, 0, NULL, 'high', NULL, NULL, 1, 0, 3600, 0, NULL, NULL, 'tamper', false, true),
    ('stuck_value', 'stuck_power_w', true, 50, 40, NULL, 'warning', NULL, NULL, 15, 0, 900, 0, NULL, NULL, 'data', false, true),
    ('stuck_register', 'stuck_register_wh', true, 20, 10, NULL, 'warning', NULL, NULL, 15, 0, 900, 0, NULL, NULL, 'data', false, true),
    ('no_data', 'silent_intervals', true, 3, 3, NULL, 'warning', 'critical', 86400, 1, 0, 0, 120, NULL, NULL, 'data', true, true),
    ('gateway_clock', 'clock_off_s', true, 60, 30, NULL, 'warning', NULL, NULL, 1, 300, 300, 0, NULL, NULL, 'data', false, true),
    ('gateway_trouble', 'gateway_troubles', true, 0, 0, NULL, 'warning', NULL, NULL, 1, 300, 300, 0, NULL, NULL, 'data', false, true),
    ('region_overload', 'region_load_percent', true, 90, 85, NULL, 'high', NULL, NULL, 15, 1800, 900, 0, NULL, NULL, 'load', false, true)
  ) AS n (rule, metric, above, raise_at, clear_at, worse_at, severity, worse_severity, worse_after_s, window_min, for_s, keep_s, hold_s, min_load_percent, rating_percent,
          category, tells_owner, tells_operators)
 WHERE NOT EXISTS (SELECT FROM alert_rules r WHERE r.rule = n.rule);
ALTER TABLE alert_rules ENABLE TRIGGER USER;

CREATE TABLE IF NOT EXISTS alert_groups (
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
COMMENT ON TABLE alert_groups IS 'What many alerts of one rule are together: one alert of what they have in common, the largest first';
COMMENT ON COLUMN alert_groups.rule IS 'Rule of the members';
COMMENT ON COLUMN alert_groups.scope IS 'What they have in common: gateway, site or region';
COMMENT ON COLUMN alert_groups.group_rule IS 'Rule of the one alert';
COMMENT ON COLUMN alert_groups.at_least IS 'How many have to be affected';
COMMENT ON COLUMN alert_groups.share_percent IS 'What share of all has to be affected, percent';
COMMENT ON COLUMN alert_groups.within_s IS 'Within what time of one another it has to begin, seconds, or within the interval of a meter that is read less often; NULL for any';
COMMENT ON COLUMN alert_groups.by_site IS 'Whether at_least counts sites instead of meters';
COMMENT ON COLUMN alert_groups.severity IS 'Severity of the one alert';
COMMENT ON COLUMN alert_groups.title IS 'What it is, for people';
INSERT INTO alert_groups (rule, scope, group_rule, at_least, share_percent, within_s, by_site, severity, title) VALUES
    ('no_data', 'gateway', 'gateway_silent', 2, 100, 120, false, 'high', 'No meter of the gateway is heard'),
    ('no_data', 'site', 'site_silent', 3, 50, 120, false, 'high', 'Meters of the site are silent'),
    ('no_data', 'region', 'region_silent', 3, 50, 120, false, 'critical', 'Meters of the region are silent'),
    ('under_frequency', 'region', 'region_under_frequency', 2, 0, NULL, true, 'critical', 'Frequency is low at several sites'),
    ('over_frequency', 'region', 'region_over_frequency', 2, 0, NULL, true, 'critical', 'Frequency is high at several sites')
ON CONFLICT (rule, scope) DO NOTHING;
GRANT SELECT ON alert_groups TO segs_api, segs_worker, segs_readonly;
