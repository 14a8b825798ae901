-- Prices that follow the load of a region: their rules, the prices themselves, what operators set in their place, and how far the
-- worker is; and prices that a tariff has for each
-- interval. Meters of generators, for tariffs that buy all and sell all.

CREATE OR REPLACE FUNCTION quarter_ceiling(p_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN b.at < p_at THEN b.at + INTERVAL '15 minutes' ELSE b.at END
      FROM (SELECT date_bin(INTERVAL '15 minutes', p_at, TIMESTAMPTZ '2000-01-01 00:00Z') AS at) AS b
$$;

CREATE OR REPLACE FUNCTION price_steps_fit(p_thresholds numeric[], p_factors numeric[], p_hysteresis numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT p_thresholds IS NULL AND p_factors IS NULL
        OR (cardinality(p_thresholds) BETWEEN 1 AND 20 AND cardinality(p_factors) = cardinality(p_thresholds) + 1
            AND array_position(p_thresholds, NULL) IS NULL AND array_position(p_factors, NULL) IS NULL
            AND p_thresholds = ARRAY(SELECT DISTINCT t FROM unnest(p_thresholds) AS t ORDER BY t)
            AND p_thresholds[1] > coalesce(p_hysteresis, 0) AND p_thresholds[cardinality(p_thresholds)] <= 1000
            AND (SELECT bool_and(f BETWEEN 0 AND 100) FROM unnest(p_factors) AS f)) IS TRUE
$$;

CREATE TABLE price_settings (
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

CREATE TABLE region_price_rules (
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

CREATE TABLE region_price_state (
    region text PRIMARY KEY REFERENCES region_price_rules ON DELETE RESTRICT,
    seen_until timestamptz NOT NULL,
    told_until timestamptz NOT NULL,
    ends_told_until timestamptz NOT NULL
);

CREATE TABLE region_prices (
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

CREATE INDEX region_prices_history_idx ON region_prices (region, lower(valid) DESC);

CREATE TABLE price_overrides (
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

CREATE TABLE tariff_prices (
    tariff_price_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL,
    valid tstzrange NOT NULL,
    buy_per_kwh numeric(18, 8) NOT NULL,
    sell_per_kwh numeric(18, 8),
    made_by text NOT NULL CHECK (made_by <> ''),
    created_at timestamptz NOT NULL,
    CONSTRAINT tariff_prices_valid_has_both_ends
        CHECK (NOT isempty(valid) AND isfinite(lower(valid)) AND isfinite(upper(valid)) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT tariff_prices_begin_and_end_with_quarter_hours
        CHECK (lower(valid) = quarter_ceiling(lower(valid)) AND upper(valid) = quarter_ceiling(upper(valid))),
    CONSTRAINT tariff_prices_one_at_a_time EXCLUDE USING gist (code WITH =, valid WITH &&)
);

CREATE TABLE meter_generators (
    meter_generator_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    generator_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    valid tstzrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_generators_are_two_meters CHECK (meter_id <> generator_id),
    CONSTRAINT meter_generators_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_generators_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&),
    CONSTRAINT meter_generators_of_one_meter EXCLUDE USING gist (generator_id WITH =, valid WITH &&)
);

ALTER TABLE price_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE region_price_rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE region_price_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE region_prices ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE tariff_prices ENABLE ROW LEVEL SECURITY;
ALTER TABLE meter_generators ENABLE ROW LEVEL SECURITY;

-- It tells more of a segment than before.
DROP FUNCTION IF EXISTS billing_plan(integer, date, date);
