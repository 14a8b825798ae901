-- Rules of alerts look at what is computed from now on.

CREATE TABLE dirty_alerts (
    dirty_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    step_min smallint NOT NULL CHECK (step_min IN (1, 15)),
    block integer NOT NULL,
    meters integer[] NOT NULL CHECK (cardinality(meters) > 0),
    first_bucket timestamptz NOT NULL,
    last_bucket timestamptz NOT NULL CHECK (last_bucket >= first_bucket),
    due_at timestamptz NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX dirty_alerts_block_idx ON dirty_alerts (block, due_at);

CREATE TABLE meter_phases (
    meter_id integer PRIMARY KEY,
    phases smallint NOT NULL CHECK (phases BETWEEN 1 AND 7)
);
