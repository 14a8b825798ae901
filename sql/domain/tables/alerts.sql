-- What rules found: an alert from the moment it fires to its resolution, what became of it, and what is still being watched.

CREATE TABLE IF NOT EXISTS alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL CHECK (rule ~ '^[a-z][a-z0-9_]{0,62}$'),
    alert_rule_id integer REFERENCES alert_rules ON DELETE RESTRICT,
    meter_id integer REFERENCES meters ON DELETE RESTRICT,
    gateway_id integer REFERENCES gateways ON DELETE RESTRICT,
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    site text CHECK (site <> ''),
    subject text NOT NULL GENERATED ALWAYS AS (CASE WHEN meter_id IS NOT NULL THEN 'meter ' || meter_id WHEN gateway_id IS NOT NULL THEN 'gateway ' || gateway_id
        WHEN region IS NOT NULL THEN 'region ' || region ELSE 'site ' || site END) STORED,
    phase smallint NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 3),
    category text NOT NULL CHECK (category IN ('supply', 'load', 'consumption', 'tamper', 'data')),
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    state text NOT NULL CHECK (state IN ('firing', 'clearing', 'resolved')),
    value double precision,
    threshold double precision,
    unit text,
    message text NOT NULL,
    detail text CHECK (detail <> ''),
    started_at timestamptz NOT NULL,
    fired_at timestamptz NOT NULL CHECK (fired_at >= started_at),
    acknowledged_at timestamptz CHECK (acknowledged_at >= started_at),
    acknowledged_by integer REFERENCES users ON DELETE RESTRICT,
    resolved_at timestamptz CHECK (resolved_at >= started_at),
    resolved_by integer REFERENCES users ON DELETE RESTRICT,
    part_of bigint REFERENCES alerts ON DELETE RESTRICT,
    flapping boolean NOT NULL DEFAULT false,
    late boolean NOT NULL DEFAULT false,
    tell_at timestamptz,
    told_at timestamptz,
    told_severity text CHECK (told_severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    escalations smallint NOT NULL DEFAULT 0 CHECK (escalations BETWEEN 0 AND 2),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alerts_have_one_subject CHECK (num_nonnulls(meter_id, gateway_id, region, site) = 1),
    CONSTRAINT alerts_phase_needs_meter CHECK (phase = 0 OR meter_id IS NOT NULL),
    CONSTRAINT alerts_resolved_with_time CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT alerts_acknowledged_by_somebody CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CONSTRAINT alerts_resolver_needs_resolution CHECK (resolved_by IS NULL OR resolved_at IS NOT NULL),
    CONSTRAINT alerts_value_has_unit CHECK (num_nonnulls(value, threshold) = 0 OR unit IS NOT NULL),
    CONSTRAINT alerts_told_of_something CHECK ((told_at IS NULL) = (told_severity IS NULL)),
    CONSTRAINT alerts_late_are_not_told CHECK (NOT late OR num_nonnulls(tell_at, told_at) = 0)
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open_key ON alerts (rule, meter_id, gateway_id, region, site, phase)
    NULLS NOT DISTINCT WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS alerts_subject_idx ON alerts (subject, rule, started_at);
CREATE INDEX IF NOT EXISTS alerts_meter_idx ON alerts (meter_id, started_at) WHERE meter_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS alerts_started_at_idx ON alerts (started_at);
CREATE INDEX IF NOT EXISTS alerts_open_idx ON alerts (alert_id) WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS alerts_tell_idx ON alerts (tell_at) WHERE tell_at IS NOT NULL;
COMMENT ON TABLE alerts IS 'What a rule found wrong with a meter, a gateway, a site or a region, from when it fires to its resolution';
COMMENT ON COLUMN alerts.alert_id IS 'Row key';
COMMENT ON COLUMN alerts.rule IS 'Rule that found it';
COMMENT ON COLUMN alerts.alert_rule_id IS 'The version of the rule by which it fired; NULL for one that stands for many';
COMMENT ON COLUMN alerts.meter_id IS 'The meter it is about, else NULL';
COMMENT ON COLUMN alerts.gateway_id IS 'The gateway it is about, else NULL';
COMMENT ON COLUMN alerts.region IS 'The region it is about, else NULL';
COMMENT ON COLUMN alerts.site IS 'meters.site it is about, else NULL';
COMMENT ON COLUMN alerts.subject IS 'Which of these, in one name';
COMMENT ON COLUMN alerts.phase IS 'Phase 1 to 3, 0 where the rule is not about one';
COMMENT ON COLUMN alerts.category IS 'supply, load, consumption, tamper or data, as alert_rules.category';
COMMENT ON COLUMN alerts.severity IS 'low, medium, warning, high or critical';
COMMENT ON COLUMN alerts.state IS 'firing, clearing (not long enough gone), resolved';
COMMENT ON COLUMN alerts.value IS 'What was measured when the state changed last, in unit';
COMMENT ON COLUMN alerts.threshold IS 'What it was compared with, in unit';
COMMENT ON COLUMN alerts.unit IS 'Unit of value and threshold';
COMMENT ON COLUMN alerts.message IS 'One sentence for people';
COMMENT ON COLUMN alerts.detail IS 'What a value counts, where it counts things with names: the troubles of a gateway';
COMMENT ON COLUMN alerts.started_at IS 'Event time of the first sign';
COMMENT ON COLUMN alerts.fired_at IS 'Event time at which it had lasted long enough';
COMMENT ON COLUMN alerts.acknowledged_at IS 'When somebody took it on';
COMMENT ON COLUMN alerts.acknowledged_by IS 'Who took it on';
COMMENT ON COLUMN alerts.resolved_at IS 'When it was over: event time, or when somebody closed it';
COMMENT ON COLUMN alerts.resolved_by IS 'Who closed it; NULL when it ended by itself';
COMMENT ON COLUMN alerts.part_of IS 'The alert that stands for this one and others';
COMMENT ON COLUMN alerts.flapping IS 'It came and went four times within an hour, and stays open until it was over for an hour';
COMMENT ON COLUMN alerts.late IS 'Found in data that came late: history, which nobody is told of';
COMMENT ON COLUMN alerts.tell_at IS 'When people are to be told; NULL where nobody is, and once they were';
COMMENT ON COLUMN alerts.told_at IS 'When people were told last, but for being reminded';
COMMENT ON COLUMN alerts.told_severity IS 'What severity they were told';
COMMENT ON COLUMN alerts.escalations IS 'How often it was told again because nobody took it on';
COMMENT ON COLUMN alerts.created_at IS 'When the row was made';
COMMENT ON COLUMN alerts.updated_at IS 'When the row changed last';
COMMENT ON INDEX alerts_open_key IS 'One open alert per rule, subject and phase';
COMMENT ON INDEX alerts_subject_idx IS 'What a rule found at a subject lately';
COMMENT ON INDEX alerts_meter_idx IS 'History of a meter';
COMMENT ON INDEX alerts_started_at_idx IS 'The latest alerts';
COMMENT ON INDEX alerts_tell_idx IS 'Whom to tell next';
COMMENT ON INDEX alerts_open_idx IS 'What is open';
CREATE OR REPLACE TRIGGER alerts_touch BEFORE UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION touch_updated_at('subject');
CREATE OR REPLACE TRIGGER alerts_audit AFTER INSERT OR UPDATE OR DELETE ON alerts
    FOR EACH ROW EXECUTE FUNCTION audit_change('alert_id');
-- Written by functions alone, which write down what became of it.
GRANT SELECT ON alerts TO segs_api, segs_worker, segs_readonly;

-- What goes with each window of measurements is kept here, and not in alerts, whose changes are all logged.
CREATE TABLE IF NOT EXISTS alert_states (
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
    detail text CHECK (detail <> ''),
    CONSTRAINT alert_states_have_one_subject CHECK (num_nonnulls(meter_id, gateway_id, region) = 1),
    CONSTRAINT alert_states_key UNIQUE (subject, rule, phase)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS alert_states_meter_idx ON alert_states (meter_id) WHERE meter_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS alert_states_rule_idx ON alert_states (rule);
CREATE INDEX IF NOT EXISTS alert_states_alert_idx ON alert_states (alert_id) WHERE alert_id IS NOT NULL;
COMMENT ON TABLE alert_states IS 'Where a rule stands with each subject that is not simply all right';
COMMENT ON COLUMN alert_states.alert_state_id IS 'Row key';
COMMENT ON COLUMN alert_states.rule IS 'The rule';
COMMENT ON COLUMN alert_states.alert_rule_id IS 'Its version that was applied last';
COMMENT ON COLUMN alert_states.meter_id IS 'The meter, else NULL';
COMMENT ON COLUMN alert_states.gateway_id IS 'The gateway, else NULL';
COMMENT ON COLUMN alert_states.region IS 'The region, else NULL';
COMMENT ON COLUMN alert_states.subject IS 'Which of these, in one name';
COMMENT ON COLUMN alert_states.phase IS 'Phase 1 to 3, 0 where the rule is not about one';
COMMENT ON COLUMN alert_states.state IS 'pending (not long enough yet), firing, clearing (not long enough gone), dismissed (somebody closed the alert, and it is not over)';
COMMENT ON COLUMN alert_states.since IS 'Event time of the first sign';
COMMENT ON COLUMN alert_states.cleared_since IS 'Event time from which on it is over, while clearing';
COMMENT ON COLUMN alert_states.seen_until IS 'End of the last window that was looked at';
COMMENT ON COLUMN alert_states.level IS 'What the value of that was: 3 beyond worse_at, 2 beyond raise_at, 1 not clear yet, 0 clear';
COMMENT ON COLUMN alert_states.value IS 'Value of that window, in the metric''s unit';
COMMENT ON COLUMN alert_states.threshold IS 'What it was compared with';
COMMENT ON COLUMN alert_states.alert_id IS 'The alert that is open for it; NULL while pending, and while another one stands for it';
COMMENT ON COLUMN alert_states.detail IS 'What its last value that was not clear counts, by name';
COMMENT ON INDEX alert_states_meter_idx IS 'States of meters';
COMMENT ON INDEX alert_states_rule_idx IS 'Who is affected by a rule';
COMMENT ON INDEX alert_states_alert_idx IS 'Which state an alert is of';
GRANT SELECT ON alert_states TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS alert_events (
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
CREATE INDEX IF NOT EXISTS alert_events_alert_idx ON alert_events (alert_id, alert_event_id);
COMMENT ON TABLE alert_events IS 'What became of each alert, and what people said to it';
COMMENT ON COLUMN alert_events.alert_event_id IS 'Row key; the order of events';
COMMENT ON COLUMN alert_events.alert_id IS 'The alert';
COMMENT ON COLUMN alert_events.kind IS 'fired, worse, clearing, again (it was not over), resolved, joined (another alert stands for it), flapping, told, muted (told later, for a maintenance window), escalated, acknowledged, commented, closed (by somebody)';
COMMENT ON COLUMN alert_events.event_at IS 'When: event time for what was measured';
COMMENT ON COLUMN alert_events.user_id IS 'Who, for what people did';
COMMENT ON COLUMN alert_events.text IS 'What they said, or what was measured';
COMMENT ON COLUMN alert_events.created_at IS 'When the row was made';
COMMENT ON INDEX alert_events_alert_idx IS 'History of an alert';
CREATE OR REPLACE TRIGGER alert_events_audit AFTER INSERT OR UPDATE OR DELETE ON alert_events
    FOR EACH ROW EXECUTE FUNCTION audit_change('alert_event_id');
GRANT SELECT ON alert_events TO segs_api, segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS maintenance_windows (
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
CREATE INDEX IF NOT EXISTS maintenance_windows_valid_idx ON maintenance_windows USING gist (valid);
COMMENT ON TABLE maintenance_windows IS 'When work is done at a meter, a gateway, a site or in a region: alerts are recorded, and nobody is told';
COMMENT ON COLUMN maintenance_windows.maintenance_window_id IS 'Row key';
COMMENT ON COLUMN maintenance_windows.meter_id IS 'The meter, else NULL';
COMMENT ON COLUMN maintenance_windows.gateway_id IS 'The gateway and what it reads, else NULL';
COMMENT ON COLUMN maintenance_windows.site IS 'meters.site, else NULL';
COMMENT ON COLUMN maintenance_windows.region IS 'The region and all in it, else NULL';
COMMENT ON COLUMN maintenance_windows.valid IS 'When, half-open';
COMMENT ON COLUMN maintenance_windows.reason IS 'What is done';
COMMENT ON COLUMN maintenance_windows.created_by IS 'Who said so; NULL for a command';
COMMENT ON COLUMN maintenance_windows.created_at IS 'When the row was made';
COMMENT ON COLUMN maintenance_windows.updated_at IS 'When the row changed last';
COMMENT ON INDEX maintenance_windows_valid_idx IS 'What is under way at a time';
CREATE OR REPLACE TRIGGER maintenance_windows_touch BEFORE UPDATE ON maintenance_windows FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER maintenance_windows_audit AFTER INSERT OR UPDATE OR DELETE ON maintenance_windows
    FOR EACH ROW EXECUTE FUNCTION audit_change('maintenance_window_id');
GRANT SELECT ON maintenance_windows TO segs_api, segs_worker, segs_readonly;
