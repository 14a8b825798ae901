-- Notes and reports of gateways; what each has delivered, without reading the ledger; early readings that come due.

CREATE TABLE gateway_notes (
    note_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateway_registry,
    batch_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('thinned', 'overflowed', 'damaged', 'refused', 'reduced', 'silent', 'not_running',
                                       'corrected')),
    device text,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    readings bigint NOT NULL CHECK (readings >= 0),
    detail text NOT NULL
);

CREATE INDEX gateway_notes_span_idx ON gateway_notes
    USING gist (gateway_id, tstzrange(first_time, last_time, '[]'));

CREATE TABLE gateway_reports (
    gateway_id integer PRIMARY KEY REFERENCES gateway_registry,
    received_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL,
    clock_ahead_s double precision NOT NULL,
    software text NOT NULL,
    report jsonb NOT NULL CHECK (jsonb_typeof(report) = 'object')
) WITH (fillfactor = 50);

CREATE TABLE delivery_tallies (
    tally_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL,
    batches bigint NOT NULL CHECK (batches > 0),
    readings bigint NOT NULL CHECK (readings >= 0),
    last_received_at timestamptz NOT NULL,
    last_stream uuid NOT NULL,
    last_seq bigint NOT NULL
);

-- What comes from here on is tallied by a trigger: nothing may come between.
LOCK TABLE ingest_batches IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO delivery_tallies (gateway_id, batches, readings, last_received_at, last_stream, last_seq)
SELECT t.gateway_id, t.batches, t.readings, newest.received_at, newest.stream, newest.seq
FROM (SELECT gateway_id, count(*) AS batches, sum(readings)::bigint AS readings, max(batch_id) AS batch_id
      FROM ingest_batches GROUP BY gateway_id) AS t
JOIN ingest_batches AS newest ON newest.batch_id = t.batch_id;

CREATE INDEX quarantine_future_idx ON quarantine (first_time) WHERE released_at IS NULL AND reason = 'future';

-- It returns more columns from now on.
DROP FUNCTION meter_completeness(timestamptz, timestamptz, boolean, integer);
