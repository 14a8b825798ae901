CREATE TABLE IF NOT EXISTS alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL CHECK (rule ~ '^[a-z][a-z0-9_]{0,62}$'),
    meter_id integer REFERENCES meters ON DELETE RESTRICT,
    gateway_id integer REFERENCES gateways ON DELETE RESTRICT,
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    site text CHECK (site <> ''),
    phase smallint NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 3),
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'warning', 'high', 'critical')),
    state text NOT NULL CHECK (state IN ('pending', 'firing', 'clearing', 'resolved')),
    value double precision,
    threshold double precision,
    unit text,
    message text NOT NULL,
    started_at timestamptz NOT NULL,
    fired_at timestamptz CHECK (fired_at >= started_at),
    acknowledged_at timestamptz CHECK (acknowledged_at >= started_at),
    acknowledged_by integer REFERENCES users ON DELETE RESTRICT,
    resolved_at timestamptz CHECK (resolved_at >= started_at),
    resolved_by integer REFERENCES users ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alerts_have_one_subject CHECK (num_nonnulls(meter_id, gateway_id, region, site) = 1),
    CONSTRAINT alerts_phase_needs_meter CHECK (phase = 0 OR meter_id IS NOT NULL),
    CONSTRAINT alerts_fired_unless_pending CHECK (state IN ('pending', 'resolved') OR fired_at IS NOT NULL),
    CONSTRAINT alerts_resolved_with_time CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT alerts_acknowledged_by_somebody CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CONSTRAINT alerts_resolver_needs_resolution CHECK (resolved_by IS NULL OR resolved_at IS NOT NULL),
    CONSTRAINT alerts_value_has_unit CHECK (num_nonnulls(value, threshold) = 0 OR unit IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open_key ON alerts (rule, meter_id, gateway_id, region, site, phase)
    NULLS NOT DISTINCT WHERE state <> 'resolved';
CREATE INDEX IF NOT EXISTS alerts_meter_idx ON alerts (meter_id, started_at) WHERE meter_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS alerts_started_at_idx ON alerts (started_at);
COMMENT ON TABLE alerts IS 'What a rule found wrong with a meter, a gateway, a site or a region, from first sign to resolution';
COMMENT ON COLUMN alerts.alert_id IS 'Row key';
COMMENT ON COLUMN alerts.rule IS 'Rule that found it';
COMMENT ON COLUMN alerts.meter_id IS 'The meter it is about, else NULL';
COMMENT ON COLUMN alerts.gateway_id IS 'The gateway it is about, else NULL';
COMMENT ON COLUMN alerts.region IS 'The region it is about, else NULL';
COMMENT ON COLUMN alerts.site IS 'meters.site it is about, else NULL';
COMMENT ON COLUMN alerts.phase IS 'Phase 1 to 3, 0 where the rule is not about one';
COMMENT ON COLUMN alerts.severity IS 'low, medium, warning, high or critical';
COMMENT ON COLUMN alerts.state IS 'pending (not long enough yet), firing, clearing (not long enough gone), resolved';
COMMENT ON COLUMN alerts.value IS 'What was measured when the state changed last, in unit';
COMMENT ON COLUMN alerts.threshold IS 'What it was compared with, in unit';
COMMENT ON COLUMN alerts.unit IS 'Unit of value and threshold';
COMMENT ON COLUMN alerts.message IS 'One sentence for people';
COMMENT ON COLUMN alerts.started_at IS 'Event time of the first sign';
COMMENT ON COLUMN alerts.fired_at IS 'Event time at which it had lasted long enough';
COMMENT ON COLUMN alerts.acknowledged_at IS 'When somebody took it on';
COMMENT ON COLUMN alerts.acknowledged_by IS 'Who took it on';
COMMENT ON COLUMN alerts.resolved_at IS 'When it was over';
COMMENT ON COLUMN alerts.resolved_by IS 'Who closed it; NULL when it ended by itself';
COMMENT ON COLUMN alerts.created_at IS 'When the row was made';
COMMENT ON COLUMN alerts.updated_at IS 'When the row changed last';
COMMENT ON INDEX alerts_open_key IS 'One open alert per rule, subject and phase';
COMMENT ON INDEX alerts_meter_idx IS 'History of a meter';
COMMENT ON INDEX alerts_started_at_idx IS 'The latest alerts';
CREATE OR REPLACE TRIGGER alerts_touch BEFORE UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER alerts_audit AFTER INSERT OR UPDATE OR DELETE ON alerts
    FOR EACH ROW EXECUTE FUNCTION audit_change('alert_id');
GRANT SELECT, UPDATE ON alerts TO segs_api;
GRANT SELECT, INSERT, UPDATE ON alerts TO segs_worker;
GRANT SELECT ON alerts TO segs_readonly;
