-- When each kind of periodic work was done last, so that any number of workers do it once.

CREATE TABLE IF NOT EXISTS periodic_work (
    kind text PRIMARY KEY,
    done_at timestamptz NOT NULL
);
COMMENT ON TABLE periodic_work IS 'When each kind of periodic work was done last; the worker that holds the row does it';
COMMENT ON COLUMN periodic_work.kind IS 'Name of the work: reconcile';
COMMENT ON COLUMN periodic_work.done_at IS 'When it was begun last, and finished';
GRANT SELECT, INSERT, UPDATE, DELETE ON periodic_work TO segs_worker;
GRANT SELECT ON periodic_work TO segs_readonly;
