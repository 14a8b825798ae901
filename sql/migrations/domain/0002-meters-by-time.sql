-- Region and zone of a meter, and capacity of a region, by time; what was said so far holds from the beginning of time.
-- Exchanges of meters, and whether a meter's registers may begin again.

CREATE TABLE meter_locations (
    meter_location_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE CASCADE,
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE RESTRICT,
    timezone text NOT NULL CONSTRAINT meter_locations_timezone_is_known CHECK (is_timezone(timezone)),
    valid tstzrange NOT NULL DEFAULT tstzrange('-infinity', 'infinity'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_locations_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT meter_locations_one_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);

CREATE INDEX meter_locations_region_idx ON meter_locations (region, meter_id);

INSERT INTO meter_locations (meter_id, region, timezone, created_at, updated_at)
SELECT meter_id, region, timezone, created_at, updated_at FROM meters;

-- It is made anew from the new table.
DROP VIEW registry_devices;
ALTER TABLE meters DROP COLUMN region, DROP COLUMN timezone;
ALTER TABLE meters ADD COLUMN register_resets boolean NOT NULL DEFAULT false;

CREATE TABLE region_capacities (
    region_capacity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region text NOT NULL REFERENCES regions ON UPDATE CASCADE ON DELETE CASCADE,
    capacity_w double precision NOT NULL CHECK (capacity_w > 0 AND capacity_w < 'infinity'),
    valid tstzrange NOT NULL,
    CONSTRAINT region_capacities_valid_is_half_open
        CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
    CONSTRAINT region_capacities_one_at_a_time EXCLUDE USING gist (region WITH =, valid WITH &&)
);

INSERT INTO region_capacities (region, capacity_w, valid)
SELECT region, capacity_w, tstzrange('-infinity', 'infinity') FROM regions WHERE capacity_w IS NOT NULL;

CREATE TABLE meter_exchanges (
    meter_exchange_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    exchanged_at timestamptz NOT NULL CHECK (isfinite(exchanged_at)),
    old_model text,
    old_serial text,
    new_model text,
    new_serial text,
    final_import_wh bigint CHECK (final_import_wh >= 0),
    final_export_wh bigint CHECK (final_export_wh >= 0),
    first_import_wh bigint CHECK (first_import_wh >= 0),
    first_export_wh bigint CHECK (first_export_wh >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_exchanges_one_at_an_instant UNIQUE (meter_id, exchanged_at)
);

CREATE TABLE registry_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    token uuid NOT NULL DEFAULT gen_random_uuid()
);
