-- What is over is cleared away, by whichever worker comes first.

CREATE TABLE periodic_work (
    kind text PRIMARY KEY,
    done_at timestamptz NOT NULL
);

CREATE INDEX outbox_done_idx ON outbox (coalesce(delivered_at, expires_at));
CREATE INDEX sessions_family_idx ON sessions (family_id, session_id);

-- A meter's number is drawn before the meter is made.
GRANT USAGE ON SEQUENCE meters_meter_id_seq TO segs_api;
