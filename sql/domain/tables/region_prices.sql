-- Prices of energy by a region's load, effective-dated. The load decides the tier, the tier the factor on the base price; what
-- an operator sets for a while comes before that, and leaves it as it is. All of them begin and end with quarter-hours, so that
-- none has two prices.

CREATE TABLE IF NOT EXISTS price_settings (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    thresholds_percent numeric[] NOT NULL DEFAULT '{25,50,75,90}',
    factors numeric[] NOT NULL DEFAULT '{0.80,0.90,1.00,1.10,1.25}',
    hysteresis_points numeric(5, 2) NOT NULL DEFAULT 5 CHECK (hysteresis_points >= 0),
    coverage_percent numeric(5, 2) NOT NULL DEFAULT 90 CHECK (coverage_percent BETWEEN 0 AND 100),
    settle_s integer NOT NULL DEFAULT 120 CHECK (settle_s BETWEEN 0 AND 86400),
    wait_s integer NOT NULL DEFAULT 900 CHECK (wait_s BETWEEN 0 AND 86400),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT price_settings_steps_fit CHECK (price_steps_fit(thresholds_percent, factors, hysteresis_points)),
    CONSTRAINT price_settings_waits_after_settling CHECK (wait_s >= settle_s)
);
INSERT INTO price_settings DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE price_settings IS 'One row: how prices follow loads, in regions that have no rule of their own for it';
COMMENT ON COLUMN price_settings.only_row IS 'Always true';
COMMENT ON COLUMN price_settings.thresholds_percent IS 'Where tiers begin, percent of the region''s capacity; a load of exactly that is in the tier above';
COMMENT ON COLUMN price_settings.factors IS 'Factors on the base price: below the first threshold, from each of them on';
COMMENT ON COLUMN price_settings.hysteresis_points IS 'How far a load has to fall below its tier''s threshold before the tier ends, percent points';
COMMENT ON COLUMN price_settings.coverage_percent IS 'How much of a quarter-hour has to be known for its load to count, percent: half of the meters are not half of the load';
COMMENT ON COLUMN price_settings.settle_s IS 'How long after its end a quarter-hour is looked at, seconds';
COMMENT ON COLUMN price_settings.wait_s IS 'How long after its end a quarter-hour that is not known enough is waited for, seconds; after that it changes no price';
COMMENT ON COLUMN price_settings.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER price_settings_touch BEFORE UPDATE ON price_settings FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER price_settings_audit AFTER INSERT OR UPDATE OR DELETE ON price_settings
    FOR EACH ROW EXECUTE FUNCTION audit_change('only_row');
GRANT SELECT ON price_settings TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS region_price_rules (
    region text PRIMARY KEY REFERENCES regions ON DELETE RESTRICT,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    base_price numeric(18, 8) NOT NULL CHECK (base_price > 0),
    thresholds_percent numeric[],
    factors numeric[],
    hysteresis_points numeric(5, 2) CHECK (hysteresis_points >= 0),
    coverage_percent numeric(5, 2) CHECK (coverage_percent BETWEEN 0 AND 100),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT region_price_rules_steps_fit CHECK (price_steps_fit(thresholds_percent, factors, hysteresis_points))
);
COMMENT ON TABLE region_price_rules IS 'Regions that have a price of their own, and by which rules it follows their load; NULL for what price_settings says';
COMMENT ON COLUMN region_price_rules.region IS 'The region';
COMMENT ON COLUMN region_price_rules.currency IS 'ISO 4217 code';
COMMENT ON COLUMN region_price_rules.base_price IS 'Price per kWh at factor 1, in currency';
COMMENT ON COLUMN region_price_rules.thresholds_percent IS 'Where tiers begin, percent of the capacity';
COMMENT ON COLUMN region_price_rules.factors IS 'Factors on the base price, one more than thresholds';
COMMENT ON COLUMN region_price_rules.hysteresis_points IS 'Percent points below a threshold at which its tier ends';
COMMENT ON COLUMN region_price_rules.coverage_percent IS 'How much of a quarter-hour has to be known for its load to count, percent';
COMMENT ON COLUMN region_price_rules.updated_at IS 'When the row changed last';
CREATE OR REPLACE TRIGGER region_price_rules_touch BEFORE UPDATE ON region_price_rules FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER region_price_rules_audit AFTER INSERT OR UPDATE OR DELETE ON region_price_rules
    FOR EACH ROW EXECUTE FUNCTION audit_change('region');
-- Written by functions alone, as all that follows.
GRANT SELECT ON region_price_rules TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS region_price_state (
    region text PRIMARY KEY REFERENCES region_price_rules ON DELETE RESTRICT,
    seen_until timestamptz NOT NULL,
    told_until timestamptz NOT NULL,
    ends_told_until timestamptz NOT NULL
);
COMMENT ON TABLE region_price_state IS 'How far the worker of prices is with each region; whoever changes its price holds the row';
COMMENT ON COLUMN region_price_state.region IS 'The region';
COMMENT ON COLUMN region_price_state.seen_until IS 'Quarter-hours before this were looked at: what comes of them later changes no price';
COMMENT ON COLUMN region_price_state.ends_told_until IS 'Overrides that ended by themselves until then were told of';
COMMENT ON COLUMN region_price_state.told_until IS 'The latest time at which its price was decided on: nothing is decided for times before, whatever a clock says';
GRANT SELECT ON region_price_state TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS region_prices (
    region_price_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region text NOT NULL REFERENCES region_price_rules ON DELETE RESTRICT,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    base_price numeric(18, 8) NOT NULL,
    factor numeric(8, 4) NOT NULL CHECK (factor >= 0),
    price numeric(18, 8) NOT NULL GENERATED ALWAYS AS (round(base_price * factor, 8)) STORED,
    tier smallint CHECK (tier >= 0),
    load_percent numeric(12, 6),
    load_at timestamptz,
    reason text NOT NULL CHECK (reason IN ('base', 'load')),
    valid tstzrange NOT NULL,
    decided_at timestamptz NOT NULL,
    CONSTRAINT region_prices_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT region_prices_begin_with_a_quarter_hour CHECK (lower(valid) = quarter_ceiling(lower(valid))),
    CONSTRAINT region_prices_never_backwards CHECK (lower(valid) >= decided_at),
    CONSTRAINT region_prices_load_is_named CHECK (reason <> 'load' OR num_nonnulls(tier, load_percent, load_at) = 3),
    CONSTRAINT region_prices_one_at_a_time EXCLUDE USING gist (region WITH =, valid WITH &&)
);
CREATE INDEX IF NOT EXISTS region_prices_history_idx ON region_prices (region, lower(valid) DESC);
COMMENT ON TABLE region_prices IS 'Prices of energy in a region, as its load has them: one after another without gaps from the first on, the last one open. Overrides come before them';
COMMENT ON COLUMN region_prices.region_price_id IS 'Row key';
COMMENT ON COLUMN region_prices.region IS 'The region';
COMMENT ON COLUMN region_prices.currency IS 'ISO 4217 code';
COMMENT ON COLUMN region_prices.base_price IS 'Price per kWh at factor 1, in currency';
COMMENT ON COLUMN region_prices.factor IS 'Factor of the tier; 1 before a load was known';
COMMENT ON COLUMN region_prices.price IS 'base_price x factor, per kWh, in currency';
COMMENT ON COLUMN region_prices.tier IS 'Tier that the load is in, from 0; NULL before a load was known';
COMMENT ON COLUMN region_prices.load_percent IS 'Load that was seen when it was decided, percent of the capacity';
COMMENT ON COLUMN region_prices.load_at IS 'Start of the quarter-hour that had this load';
COMMENT ON COLUMN region_prices.reason IS 'load: the load came into another tier. base: the region got a price, another base price or other factors';
COMMENT ON COLUMN region_prices.valid IS 'When it is in force where no override is, half-open';
COMMENT ON COLUMN region_prices.decided_at IS 'When it was decided on; it is in force from the next quarter-hour on at the earliest';
COMMENT ON INDEX region_prices_history_idx IS 'A region''s prices, the latest first';
COMMENT ON INDEX region_prices_one_at_a_time IS 'A region has one price at a time';
CREATE OR REPLACE TRIGGER region_prices_guard BEFORE UPDATE OR DELETE ON region_prices
    FOR EACH ROW EXECUTE FUNCTION guard_region_price();
CREATE OR REPLACE TRIGGER region_prices_stay BEFORE TRUNCATE ON region_prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_price_removal();
CREATE OR REPLACE TRIGGER region_prices_audit AFTER INSERT OR UPDATE OR DELETE ON region_prices
    FOR EACH ROW EXECUTE FUNCTION audit_change('region_price_id');
ALTER TABLE region_prices ENABLE ALWAYS TRIGGER region_prices_guard, ENABLE ALWAYS TRIGGER region_prices_stay;
-- What a supply carries is for who looks after the region: a price says no more of it than its tier.
GRANT SELECT (region_price_id, region, currency, base_price, factor, price, tier, reason, valid, decided_at) ON region_prices TO segs_api;
GRANT SELECT ON region_prices TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS price_overrides (
    price_override_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region text NOT NULL REFERENCES region_price_rules ON DELETE RESTRICT,
    factor numeric(8, 4) CHECK (factor BETWEEN 0 AND 100),
    price numeric(18, 8),
    valid tstzrange NOT NULL,
    reason text NOT NULL CHECK (reason <> '' AND length(reason) <= 500),
    made_by text NOT NULL CHECK (made_by <> ''),
    created_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= created_at),
    ended_by text CHECK (ended_by <> ''),
    end_reason text CHECK (end_reason <> '' AND length(end_reason) <= 500),
    in_force tstzrange NOT NULL GENERATED ALWAYS AS (
        tstzrange(lower(valid), least(upper(valid), greatest(lower(valid), quarter_ceiling(coalesce(ended_at, upper(valid))))))) STORED,
    CONSTRAINT price_overrides_factor_or_price CHECK (num_nonnulls(factor, price) = 1),
    CONSTRAINT price_overrides_valid_has_both_ends
        CHECK (NOT isempty(valid) AND isfinite(lower(valid)) AND isfinite(upper(valid)) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT price_overrides_begin_and_end_with_quarter_hours
        CHECK (lower(valid) = quarter_ceiling(lower(valid)) AND upper(valid) = quarter_ceiling(upper(valid))),
    CONSTRAINT price_overrides_never_backwards CHECK (lower(valid) >= created_at),
    CONSTRAINT price_overrides_ended_by_somebody_for_a_reason CHECK (num_nonnulls(ended_at, ended_by, end_reason) IN (0, 3)),
    CONSTRAINT price_overrides_one_at_a_time EXCLUDE USING gist (region WITH =, in_force WITH &&)
);
COMMENT ON TABLE price_overrides IS 'Prices that operators set for a while: while one is in force, the region''s own is not. Ending one leaves what was';
COMMENT ON COLUMN price_overrides.price_override_id IS 'Row key';
COMMENT ON COLUMN price_overrides.region IS 'The region';
COMMENT ON COLUMN price_overrides.factor IS 'Factor on the base price, in place of the tier''s; NULL where price says it';
COMMENT ON COLUMN price_overrides.price IS 'Price per kWh, in the region''s currency; NULL where factor says it';
COMMENT ON COLUMN price_overrides.valid IS 'When, as it was ordered, half-open';
COMMENT ON COLUMN price_overrides.reason IS 'Why; customers read it';
COMMENT ON COLUMN price_overrides.made_by IS 'Who, as the audit log names them';
COMMENT ON COLUMN price_overrides.created_at IS 'When it was ordered';
COMMENT ON COLUMN price_overrides.ended_at IS 'When somebody ended it before its time; it is over with that quarter-hour';
COMMENT ON COLUMN price_overrides.ended_by IS 'Who did, as the audit log names them';
COMMENT ON COLUMN price_overrides.end_reason IS 'Why they did';
COMMENT ON COLUMN price_overrides.in_force IS 'When it was or is in force; empty for one that was ended before it began';
COMMENT ON INDEX price_overrides_one_at_a_time IS 'A region has one override at a time';
CREATE OR REPLACE TRIGGER price_overrides_guard BEFORE UPDATE OR DELETE ON price_overrides
    FOR EACH ROW EXECUTE FUNCTION guard_price_override();
CREATE OR REPLACE TRIGGER price_overrides_stay BEFORE TRUNCATE ON price_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_price_removal();
CREATE OR REPLACE TRIGGER price_overrides_audit AFTER INSERT OR UPDATE OR DELETE ON price_overrides
    FOR EACH ROW EXECUTE FUNCTION audit_change('price_override_id');
ALTER TABLE price_overrides ENABLE ALWAYS TRIGGER price_overrides_guard, ENABLE ALWAYS TRIGGER price_overrides_stay;
GRANT SELECT ON price_overrides TO segs_api, segs_worker, segs_readonly;
