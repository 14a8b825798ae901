-- What is over is cleared away, by whichever worker comes first.

CREATE TABLE periodic_work (
    kind text PRIMARY KEY,
    done_at timestamptz NOT NULL
);

CREATE INDEX outbox_done_idx ON outbox (coalesce(delivered_at, expires_at));
CREATE INDEX sessions_family_idx ON sessions (family_id, session_id);
