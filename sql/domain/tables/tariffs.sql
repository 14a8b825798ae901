-- Tariffs, effective-dated: a change of price is a new row, and a row that bills were priced by never goes away.

CREATE TABLE IF NOT EXISTS tariffs (
    tariff_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL CHECK (code ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text NOT NULL CHECK (name <> ''),
    region text REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    origin text NOT NULL DEFAULT 'base' CHECK (origin IN ('base', 'load', 'override')),
    reason text CHECK (reason <> ''),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    timezone text NOT NULL CONSTRAINT tariffs_timezone_is_known CHECK (is_timezone(timezone)),
    interval_s integer NOT NULL DEFAULT 900 CHECK (interval_s > 0 AND 86400 % interval_s = 0),
    document jsonb NOT NULL CHECK (jsonb_typeof(document) = 'object'),
    valid tstzrange NOT NULL,
    created_by integer REFERENCES users ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tariffs_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT tariffs_override_has_end_and_reason
        CHECK (origin <> 'override' OR (upper(valid) < 'infinity' AND reason IS NOT NULL)),
    CONSTRAINT tariffs_load_has_region CHECK (origin <> 'load' OR region IS NOT NULL),
    CONSTRAINT tariffs_one_at_a_time EXCLUDE USING gist (code WITH =, origin WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS tariffs_region_idx ON tariffs (region);
COMMENT ON TABLE tariffs IS 'Tariffs and their spans: while they overlap, override wins over load, load over base';
COMMENT ON COLUMN tariffs.tariff_id IS 'Row key: one price table during one span';
COMMENT ON COLUMN tariffs.code IS 'The tariff, the same in all its rows';
COMMENT ON COLUMN tariffs.name IS 'Name for people';
COMMENT ON COLUMN tariffs.region IS 'Region it is offered in; NULL for everywhere';
COMMENT ON COLUMN tariffs.origin IS 'base as published, load by the region''s load, override by an operator';
COMMENT ON COLUMN tariffs.reason IS 'Why the row was made; an override must say';
COMMENT ON COLUMN tariffs.currency IS 'ISO 4217 code';
COMMENT ON COLUMN tariffs.timezone IS 'IANA zone that the document''s schedules are local to';
COMMENT ON COLUMN tariffs.interval_s IS 'Length of the intervals it prices, seconds';
COMMENT ON COLUMN tariffs.document IS 'The whole tariff document, in normal form: with all that it leaves unsaid spelled out';
COMMENT ON COLUMN tariffs.valid IS 'Span in which the row is in force, half-open';
COMMENT ON COLUMN tariffs.created_by IS 'Operator who made it; NULL for the tariff worker';
COMMENT ON COLUMN tariffs.created_at IS 'When the row was made';
COMMENT ON COLUMN tariffs.updated_at IS 'When the row changed last';
COMMENT ON INDEX tariffs_one_at_a_time IS 'A tariff has one price table of an origin at a time';
COMMENT ON INDEX tariffs_region_idx IS 'Tariffs of a region';
CREATE OR REPLACE TRIGGER tariffs_guard AFTER UPDATE ON tariffs FOR EACH ROW EXECUTE FUNCTION guard_tariff();
CREATE OR REPLACE TRIGGER tariffs_touch BEFORE UPDATE ON tariffs FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER tariffs_audit AFTER INSERT OR UPDATE OR DELETE ON tariffs
    FOR EACH ROW EXECUTE FUNCTION audit_change('tariff_id');
GRANT SELECT, INSERT, UPDATE ON tariffs TO segs_api, segs_worker;
GRANT SELECT ON tariffs TO segs_readonly;

CREATE TABLE IF NOT EXISTS tariff_rules (
    tariff_rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tariff_id integer NOT NULL REFERENCES tariffs ON DELETE RESTRICT,
    component text NOT NULL CHECK (component IN ('energy', 'demand_flat', 'demand_tou')),
    period smallint NOT NULL CHECK (period >= 0),
    tier smallint NOT NULL CHECK (tier >= 0),
    tier_max numeric(18, 6) CHECK (tier_max > 0),
    unit text NOT NULL CHECK (unit IN ('kWh', 'kWh daily', 'kW')),
    rate numeric(18, 8) NOT NULL,
    adjustment numeric(18, 8) NOT NULL DEFAULT 0,
    sell numeric(18, 8),
    CONSTRAINT tariff_rules_key UNIQUE (tariff_id, component, period, tier),
    CONSTRAINT tariff_rules_unit_fits_component CHECK ((unit = 'kW') = (component <> 'energy')),
    CONSTRAINT tariff_rules_sell_is_energy CHECK (sell IS NULL OR component = 'energy')
);
COMMENT ON TABLE tariff_rules IS 'The document''s rate structures as rows: one price per component, period and tier';
COMMENT ON COLUMN tariff_rules.tariff_rule_id IS 'Row key';
COMMENT ON COLUMN tariff_rules.tariff_id IS 'Tariff row they belong to';
COMMENT ON COLUMN tariff_rules.component IS 'energy, demand_flat (peak of the month) or demand_tou (peak within the period)';
COMMENT ON COLUMN tariff_rules.period IS 'Period number of the document''s schedules, from 0';
COMMENT ON COLUMN tariff_rules.tier IS 'Tier of the period, from 0';
COMMENT ON COLUMN tariff_rules.tier_max IS 'Upper end of the tier, in unit; NULL for the last';
COMMENT ON COLUMN tariff_rules.unit IS 'Unit of tier_max: kWh a month, kWh daily (x days of the month), kW';
COMMENT ON COLUMN tariff_rules.rate IS 'Price per kWh or kW, in the tariff''s currency';
COMMENT ON COLUMN tariff_rules.adjustment IS 'Added to rate, per kWh or kW, in the tariff''s currency';
COMMENT ON COLUMN tariff_rules.sell IS 'Paid per kWh exported, in the tariff''s currency; NULL where export is not paid';
COMMENT ON INDEX tariff_rules_key IS 'One price per component, period and tier';
CREATE OR REPLACE TRIGGER tariff_rules_audit AFTER INSERT OR UPDATE OR DELETE ON tariff_rules
    FOR EACH ROW EXECUTE FUNCTION audit_change('tariff_rule_id');
GRANT SELECT, INSERT ON tariff_rules TO segs_api, segs_worker;
GRANT SELECT ON tariff_rules TO segs_readonly;
