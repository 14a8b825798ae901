-- What gateways say besides readings: why some are missing, and how they are doing.

CREATE TABLE IF NOT EXISTS gateway_notes (
    note_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL REFERENCES gateway_registry,
    batch_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('thinned', 'overflowed', 'damaged', 'refused', 'reduced', 'silent', 'not_running',
                                       'corrected', 'overrun')),
    device text,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL CHECK (last_time >= first_time),
    readings bigint NOT NULL CHECK (readings >= 0),
    detail text NOT NULL
);
CREATE INDEX IF NOT EXISTS gateway_notes_span_idx ON gateway_notes
    USING gist (gateway_id, tstzrange(first_time, last_time, '[]'));
COMMENT ON TABLE gateway_notes IS 'Why readings of a span of time are missing or changed, in the gateway''s words; stored with the batch that they came in';
COMMENT ON COLUMN gateway_notes.note_id IS 'Row key';
COMMENT ON COLUMN gateway_notes.gateway_id IS 'The gateway that says so';
COMMENT ON COLUMN gateway_notes.batch_id IS 'ingest_batches.batch_id of the batch that the note came in';
COMMENT ON COLUMN gateway_notes.kind IS 'thinned, overflowed, damaged, refused: were read and given up; silent, not_running: were never read; overrun: some were never read, the line was busy; reduced: kept with their energy registers alone; corrected: kept with computed times';
COMMENT ON COLUMN gateway_notes.device IS 'The gateway''s name of the device; NULL for all of its devices';
COMMENT ON COLUMN gateway_notes.first_time IS 'Beginning of the span, clamped to what timestamptz holds';
COMMENT ON COLUMN gateway_notes.last_time IS 'End of the span, inclusive, clamped to what timestamptz holds';
COMMENT ON COLUMN gateway_notes.readings IS 'How many readings, or polls left out; 0 where nobody counted';
COMMENT ON COLUMN gateway_notes.detail IS 'What the gateway adds for people';
COMMENT ON INDEX gateway_notes_span_idx IS 'What a gateway says of a span of time: completeness asks by it';
GRANT SELECT, INSERT ON gateway_notes TO segs_ingest;
GRANT SELECT ON gateway_notes TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS gateway_reports (
    gateway_id integer PRIMARY KEY REFERENCES gateway_registry,
    received_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL,
    clock_ahead_s double precision NOT NULL,
    software text NOT NULL,
    report jsonb NOT NULL CHECK (jsonb_typeof(report) = 'object')
) WITH (fillfactor = 50);
COMMENT ON TABLE gateway_reports IS 'How each gateway is doing, in its own words: its newest report';
COMMENT ON COLUMN gateway_reports.gateway_id IS 'The gateway whose key the report came with';
COMMENT ON COLUMN gateway_reports.received_at IS 'When it came';
COMMENT ON COLUMN gateway_reports.sent_at IS 'When it was sent by the gateway''s clock, clamped to what timestamptz holds';
COMMENT ON COLUMN gateway_reports.clock_ahead_s IS 'How far the gateway''s clock was ahead of the receiver''s when the report came, seconds; the way takes part of it';
COMMENT ON COLUMN gateway_reports.software IS 'The gateway''s program and its version';
COMMENT ON COLUMN gateway_reports.report IS 'The report as in contract/report.py';
GRANT SELECT, INSERT, UPDATE ON gateway_reports TO segs_ingest;
GRANT SELECT ON gateway_reports TO segs_worker, segs_readonly;

CREATE TABLE IF NOT EXISTS delivery_tallies (
    tally_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer NOT NULL,
    batches bigint NOT NULL CHECK (batches > 0),
    readings bigint NOT NULL CHECK (readings >= 0),
    last_received_at timestamptz NOT NULL,
    last_stream uuid NOT NULL,
    last_seq bigint NOT NULL
);

CREATE OR REPLACE FUNCTION tally_deliveries() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO delivery_tallies (gateway_id, batches, readings, last_received_at, last_stream, last_seq)
    SELECT gateway_id, 1, readings, received_at, stream, seq FROM delivered;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION tally_deliveries() IS 'A row of delivery_tallies for each new row of the ledger, in the same transaction';

CREATE OR REPLACE TRIGGER ingest_batches_tallied AFTER INSERT ON ingest_batches
    REFERENCING NEW TABLE AS delivered FOR EACH STATEMENT EXECUTE FUNCTION tally_deliveries();
COMMENT ON TABLE delivery_tallies IS 'What each gateway has delivered in all: a row a batch, which workers add up to a row a gateway. So nobody waits for a counter, and nobody reads the whole ledger';
COMMENT ON COLUMN delivery_tallies.tally_id IS 'Row key';
COMMENT ON COLUMN delivery_tallies.gateway_id IS 'The gateway that delivered';
COMMENT ON COLUMN delivery_tallies.batches IS 'Number of batches in this row';
COMMENT ON COLUMN delivery_tallies.readings IS 'Number of readings in them';
COMMENT ON COLUMN delivery_tallies.last_received_at IS 'When the newest of them came';
COMMENT ON COLUMN delivery_tallies.last_stream IS 'Stream of the newest';
COMMENT ON COLUMN delivery_tallies.last_seq IS 'Sequence number of the newest';
GRANT SELECT, INSERT ON delivery_tallies TO segs_ingest;
GRANT SELECT, INSERT, DELETE ON delivery_tallies TO segs_worker;
GRANT SELECT ON delivery_tallies TO segs_readonly;
