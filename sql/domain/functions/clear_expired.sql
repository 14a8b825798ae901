-- What nobody asks for any more goes. Whoever is just at a row keeps it for the next time: nobody waits for this.

CREATE OR REPLACE FUNCTION clear_expired(p_limit integer, p_now timestamptz, OUT table_name text, OUT cleared integer)
RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_left integer := p_limit;
    v_table record;
BEGIN
    FOR v_table IN
        SELECT * FROM (VALUES
            -- Longer than any bucket takes to be full again.
            ('rate_buckets', 't.updated_at <= $1 - INTERVAL ''1 day'''),
            ('password_proofs', 't.expires_at <= $1 - INTERVAL ''1 day'''),
            -- Wrong guesses of an hour are summed.
            ('otp_verifications', 't.expires_at <= $1 - INTERVAL ''1 day'''),
            ('token_blacklist', 't.expires_at <= $1 - INTERVAL ''1 day'''),
            -- A login's first token goes last: by its time the others are refused where all sessions were ended.
            ('sessions', $sql$t.expires_at <= $1 - INTERVAL '1 day' AND (
                EXISTS (SELECT FROM sessions f WHERE f.family_id = t.family_id AND f.session_id < t.session_id)
                OR NOT EXISTS (SELECT FROM sessions l WHERE l.family_id = t.family_id AND l.expires_at > $1 - INTERVAL '1 day'))$sql$),
            -- Somebody may ask what they were told; what was not delivered in time is of no use.
            ('outbox', 'coalesce(t.delivered_at, t.closed_at, t.expires_at) <= $1 - INTERVAL ''30 days'''),
            ('idempotency_keys', 't.expires_at <= $1'),
            ('login_networks', 't.last_at <= $1 - INTERVAL ''90 days''')) AS v (name, is_over)
         WHERE to_regclass(v.name) IS NOT NULL
    LOOP
        EXIT WHEN v_left <= 0;
        EXECUTE format(
            'DELETE FROM %1$I WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM %1$I t WHERE %2$s LIMIT $2 FOR UPDATE SKIP LOCKED))',
            v_table.name, v_table.is_over)
        USING p_now, v_left;
        GET DIAGNOSTICS cleared = ROW_COUNT;
        v_left := v_left - cleared;
        table_name := v_table.name;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION clear_expired(integer, timestamptz) IS 'Deletes at most p_limit rows that are over: limits that are full again, proofs, codes and sessions past their time, messages 30 days after their delivery; how many of each table';
GRANT EXECUTE ON FUNCTION clear_expired(integer, timestamptz) TO segs_worker;
