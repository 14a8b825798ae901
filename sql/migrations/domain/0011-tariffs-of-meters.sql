-- By which tariff a meter is billed, and holidays that a tariff gets besides those of its document.

CREATE TABLE meter_tariffs (
    meter_tariff_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    code text NOT NULL,
    valid tstzrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_tariffs_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_tariffs_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CREATE INDEX meter_tariffs_code_idx ON meter_tariffs (code, meter_id);

CREATE TABLE tariff_holidays (
    tariff_holiday_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL,
    day date NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT tariff_holidays_key UNIQUE (code, day)
);

ALTER TABLE meter_tariffs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tariff_holidays ENABLE ROW LEVEL SECURITY;
