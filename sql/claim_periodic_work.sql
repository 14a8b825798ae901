-- Call it in the transaction that does the work: a rollback gives the claim back.

CREATE OR REPLACE FUNCTION claim_periodic_work(p_kind text, p_every interval, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO periodic_work (kind, done_at) VALUES (p_kind, '-infinity') ON CONFLICT (kind) DO NOTHING;
    UPDATE periodic_work SET done_at = p_now
    WHERE kind = (SELECT w.kind FROM periodic_work AS w
                  -- What was done by a clock that was ahead waits for no such time.
                  WHERE w.kind = p_kind AND (w.done_at <= p_now - p_every OR w.done_at > p_now + p_every) FOR UPDATE SKIP LOCKED);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION claim_periodic_work(text, interval, timestamptz) IS
    'Whether the caller shall do the work now: it was not done within p_every of p_now, and nobody else is doing it';
GRANT EXECUTE ON FUNCTION claim_periodic_work(text, interval, timestamptz) TO segs_worker;
