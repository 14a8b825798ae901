-- Estimates, edits and validation of quarter-hours; capacities of regions by time.

CREATE TABLE capacity_registry (
    region text NOT NULL REFERENCES region_registry,
    capacity_w double precision NOT NULL CHECK (capacity_w > 0),
    valid tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT upper_inc(valid)),
    CONSTRAINT capacity_registry_one_at_a_time EXCLUDE USING gist (region WITH =, valid WITH &&)
);

CREATE TABLE interval_versions (
    version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    method text NOT NULL CHECK (method IN ('edit', 'like_day', 'flat')),
    quality smallint NOT NULL,
    energy_import_wh bigint CHECK (energy_import_wh >= 0),
    energy_export_wh bigint CHECK (energy_export_wh >= 0),
    reactive_energy_import_varh bigint CHECK (reactive_energy_import_varh >= 0),
    reactive_energy_export_varh bigint CHECK (reactive_energy_export_varh >= 0),
    actor text CHECK (actor <> ''),
    reason text CHECK (reason <> ''),
    created_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= created_at),
    ended_by text CHECK (ended_by <> ''),
    ended_reason text CHECK (ended_reason <> ''),
    CONSTRAINT interval_versions_bucket_is_a_quarter_hour
        CHECK (date_bin('15 minutes', bucket, timestamptz '2000-01-01 00:00+00') = bucket),
    CONSTRAINT interval_versions_quality_tells_the_method
        CHECK (quality = CASE method WHEN 'edit' THEN 7 WHEN 'like_day' THEN 8 ELSE 9 END),
    CONSTRAINT interval_versions_says_something CHECK (
        num_nonnulls(energy_import_wh, energy_export_wh, reactive_energy_import_varh, reactive_energy_export_varh) > 0),
    CONSTRAINT interval_versions_edit_has_actor_and_reason CHECK (method <> 'edit' OR num_nonnulls(actor, reason) = 2),
    CONSTRAINT interval_versions_end_has_a_reason CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
);

CREATE INDEX interval_versions_bucket_idx ON interval_versions (meter_id, bucket);

CREATE UNIQUE INDEX interval_versions_live_key ON interval_versions (meter_id, bucket, (method = 'edit'))
    WHERE ended_at IS NULL;

CREATE TABLE vee_rules (
    rule text PRIMARY KEY CHECK (rule IN ('spike', 'sum', 'high', 'low', 'consecutive')),
    enabled boolean NOT NULL DEFAULT true,
    percent double precision NOT NULL CHECK (percent >= 0),
    energy_wh bigint NOT NULL CHECK (energy_wh >= 0),
    number integer NOT NULL CHECK (number > 0)
);

INSERT INTO vee_rules (rule, percent, energy_wh, number)
VALUES ('spike', 180, 250, 3), ('sum', 0.1, 2, 1), ('high', 300, 1000, 3), ('low', 10, 1000, 3), ('consecutive', 0, 0, 48);

CREATE TABLE vee_findings (
    finding_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL REFERENCES vee_rules,
    meter_id integer NOT NULL,
    day date NOT NULL,
    first_bucket timestamptz NOT NULL,
    last_bucket timestamptz NOT NULL CHECK (last_bucket >= first_bucket),
    measured double precision NOT NULL,
    allowed double precision NOT NULL,
    found_at timestamptz NOT NULL,
    cleared_at timestamptz CHECK (cleared_at >= found_at),
    CONSTRAINT vee_findings_once UNIQUE (meter_id, day, rule, first_bucket)
);

CREATE INDEX vee_findings_open_idx ON vee_findings (day, meter_id) WHERE cleared_at IS NULL;

CREATE TABLE vee_meters (
    meter_id integer PRIMARY KEY,
    last_actual timestamptz NOT NULL DEFAULT '-infinity',
    estimated_until timestamptz NOT NULL DEFAULT '-infinity',
    last_day date NOT NULL,
    daily_import_wh bigint[] NOT NULL CHECK (cardinality(daily_import_wh) = 21)
) WITH (fillfactor = 70);

CREATE INDEX vee_meters_last_actual_idx ON vee_meters (last_actual);

CREATE TABLE dirty_intervals (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL,
    first_bucket timestamptz NOT NULL,
    last_bucket timestamptz NOT NULL CHECK (last_bucket >= first_bucket),
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    error text,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE registry_version ADD COLUMN copied_token uuid, ADD COLUMN copied_version bigint;
