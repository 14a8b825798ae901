-- What is known of registers besides their reads: when one register ends and another goes on, and which reads were not taken as
-- they came.

CREATE TABLE IF NOT EXISTS meter_registers (
    meter_id integer NOT NULL,
    register smallint NOT NULL CHECK (register BETWEEN 1 AND 4),
    last_day timestamptz NOT NULL,
    PRIMARY KEY (meter_id, register)
);
COMMENT ON TABLE meter_registers IS 'Which registers a meter is read by, so that nobody looks for the reads of one that it lacks';
COMMENT ON COLUMN meter_registers.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN meter_registers.register IS '1 energy_import_wh, 2 energy_export_wh, 3 reactive_energy_import_varh, 4 reactive_energy_export_varh';
COMMENT ON COLUMN meter_registers.last_day IS 'The latest day, UTC, with a read of it';
GRANT SELECT, INSERT, UPDATE, DELETE ON meter_registers TO segs_worker;
GRANT SELECT ON meter_registers TO segs_readonly;

CREATE TABLE IF NOT EXISTS register_epochs (
    meter_id integer NOT NULL,
    register smallint NOT NULL CHECK (register BETWEEN 1 AND 4),
    starts_at timestamptz NOT NULL,
    final_value bigint CHECK (final_value >= 0),
    first_value bigint CHECK (first_value >= 0),
    PRIMARY KEY (meter_id, register, starts_at)
);
COMMENT ON TABLE register_epochs IS 'A register that another one follows, as at the exchange of a meter: no difference is taken across starts_at';
COMMENT ON COLUMN register_epochs.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN register_epochs.register IS '1 energy_import_wh, 2 energy_export_wh, 3 reactive_energy_import_varh, 4 reactive_energy_export_varh';
COMMENT ON COLUMN register_epochs.starts_at IS 'The instant of the exchange; a reading of this instant is one of the new register';
COMMENT ON COLUMN register_epochs.final_value IS 'Final read of the old register at starts_at, Wh or varh; NULL when nobody took it';
COMMENT ON COLUMN register_epochs.first_value IS 'First read of the new register at starts_at, Wh or varh; NULL when nobody took it';
GRANT SELECT, INSERT, UPDATE, DELETE ON register_epochs TO segs_worker;
GRANT SELECT ON register_epochs TO segs_readonly;

CREATE TABLE IF NOT EXISTS register_events (
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
CREATE INDEX IF NOT EXISTS register_events_at_idx ON register_events USING brin (at);
COMMENT ON TABLE register_events IS 'Reads that did not simply go on from the one before, and what they were taken for; computed together with aggregates_1m';
COMMENT ON COLUMN register_events.meter_id IS 'device_registry.meter_id';
COMMENT ON COLUMN register_events.register IS '1 energy_import_wh, 2 energy_export_wh, 3 reactive_energy_import_varh, 4 reactive_energy_export_varh';
COMMENT ON COLUMN register_events.at IS 'Time of the read, or of the exchange';
COMMENT ON COLUMN register_events.kind IS 'rollover: went on at 0, booked. reset: began again, as this register may. backwards: fell, and may not. jump: rose faster than the connection can carry. glitch: one read that its neighbours contradict, left out. exchange: another register from here on';
COMMENT ON COLUMN register_events.before_at IS 'Time of the read before';
COMMENT ON COLUMN register_events.before_value IS 'The read before, Wh or varh';
COMMENT ON COLUMN register_events.value IS 'The read, Wh or varh';
COMMENT ON COLUMN register_events.found_at IS 'When it was computed';
COMMENT ON INDEX register_events_at_idx IS 'Events of a span of time';
GRANT SELECT, INSERT, UPDATE, DELETE ON register_events TO segs_worker;
GRANT SELECT ON register_events TO segs_readonly;
