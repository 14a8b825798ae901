-- Marks of many meters at once, by blocks; quarter-hours in a queue of their own; registers with epochs and events; energy that
-- is booked from the first and last reads of readings themselves.

ALTER TABLE aggregates_1m
    ADD COLUMN energy_import_start_wh bigint,
    ADD COLUMN energy_export_start_wh bigint,
    ADD COLUMN reactive_energy_import_start_varh bigint,
    ADD COLUMN reactive_energy_export_start_varh bigint;
ALTER TABLE aggregates_15m ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version >= 1);

ALTER TABLE device_registry
    ADD COLUMN register_modulus_wh bigint CHECK (register_modulus_wh > 0),
    ADD COLUMN register_resets boolean NOT NULL DEFAULT false;
CREATE INDEX device_registry_meter_idx ON device_registry (meter_id);

CREATE TABLE meter_registers (
    meter_id integer NOT NULL,
    register smallint NOT NULL CHECK (register BETWEEN 1 AND 4),
    last_day timestamptz NOT NULL,
    PRIMARY KEY (meter_id, register)
);
INSERT INTO meter_registers (meter_id, register, last_day)
SELECT meter_id, register, date_trunc('day', max(last_at), 'UTC') FROM register_minutes GROUP BY meter_id, register;

CREATE TABLE register_epochs (
    meter_id integer NOT NULL,
    register smallint NOT NULL CHECK (register BETWEEN 1 AND 4),
    starts_at timestamptz NOT NULL,
    final_value bigint CHECK (final_value >= 0),
    first_value bigint CHECK (first_value >= 0),
    PRIMARY KEY (meter_id, register, starts_at)
);

CREATE TABLE register_events (
    meter_id integer NOT NULL,
    register smallint NOT NULL CHECK (register BETWEEN 1 AND 4),
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('rollover', 'reset', 'backwards', 'jump', 'glitch', 'exchange')),
    before_at timestamptz,
    before_value bigint,
    value bigint,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (meter_id, register, at, kind)
);
CREATE INDEX register_events_at_idx ON register_events USING brin (at);

CREATE TABLE dirty_meters (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resolution_min smallint NOT NULL CHECK (resolution_min IN (1, 15)),
    block integer NOT NULL,
    meters integer[] NOT NULL CHECK (cardinality(meters) > 0),
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    due_at timestamptz NOT NULL,
    alone boolean NOT NULL DEFAULT false,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dirty_meters_block_idx ON dirty_meters (resolution_min, block, due_at);
INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at, marked_at)
SELECT 1, meter_id >> 10, ARRAY[meter_id], first_time, last_time, marked_at, marked_at FROM dirty_readings ORDER BY dirty_id;
DROP TABLE dirty_readings;
ALTER TABLE dirty_regions ADD COLUMN due_at timestamptz NOT NULL DEFAULT '-infinity';
ALTER TABLE failed_marks ADD COLUMN resolution_min smallint NOT NULL DEFAULT 1 CHECK (resolution_min IN (1, 15));

DROP FUNCTION aggregate_readings(integer, timestamptz);
DROP FUNCTION aggregate_regions(integer);
DROP FUNCTION summarise_minutes(integer[], timestamptz[], timestamptz[], timestamptz);
DROP FUNCTION summarise_quarters(integer[], timestamptz[], timestamptz[], timestamptz);
DROP FUNCTION energy_spans(integer[], timestamptz[], timestamptz[], integer);
DROP FUNCTION book_energy(integer[], timestamptz[], timestamptz[], integer, timestamptz);
DROP TABLE register_minutes;
