-- The resolution of a register that counts whole kWh, on top of what the connection can carry: such a register moves by
-- 1000 Wh from one second to the next, and that is no fault.

CREATE OR REPLACE FUNCTION register_allowance(p_max_power_w double precision, p_from timestamptz, p_to timestamptz)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1000 + p_max_power_w * pg_catalog.date_part('epoch', p_to - p_from) / 3600;
COMMENT ON FUNCTION register_allowance(double precision, timestamptz, timestamptz) IS
    'How far a register may move from p_from to p_to and be believed, Wh or varh: p_max_power_w (W) all the time, and 1000';

CREATE OR REPLACE FUNCTION register_share(p_moved bigint, p_from timestamptz, p_at timestamptz, p_to timestamptz)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.round(p_moved * (pg_catalog.date_part('epoch', p_at - p_from) / pg_catalog.date_part('epoch', p_to - p_from)))::bigint;
COMMENT ON FUNCTION register_share(bigint, timestamptz, timestamptz, timestamptz) IS
    'What a register that moved by p_moved from p_from to p_to had moved at p_at, in a straight line, rounded to a whole unit';

CREATE OR REPLACE FUNCTION register_at_start(
    p_from bigint, p_from_at timestamptz, p_start timestamptz, p_first bigint, p_first_at timestamptz
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_from_at IS NULL THEN p_first
            ELSE p_from + public.register_share(p_first - p_from, p_from_at, p_start, p_first_at) END;
COMMENT ON FUNCTION register_at_start(bigint, timestamptz, timestamptz, bigint, timestamptz) IS
    'Where a register stood at p_start, between the last read before it and the first one since; without one before, at that first one';

CREATE OR REPLACE FUNCTION register_at_end(
    p_last bigint, p_last_at timestamptz, p_end timestamptz, p_to bigint, p_to_at timestamptz
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_to_at IS NULL THEN p_last
            ELSE p_last + public.register_share(p_to - p_last, p_last_at, p_end, p_to_at) END;
COMMENT ON FUNCTION register_at_end(bigint, timestamptz, timestamptz, bigint, timestamptz) IS
    'Where a register stood at p_end, between the last read before it and the first one since; without one since, at that last one';

CREATE OR REPLACE FUNCTION register_doubtful(
    p_max_power_w double precision, p_from bigint, p_from_at timestamptz, p_to bigint, p_to_at timestamptz
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_from_at IS NOT NULL AND p_to_at IS NOT NULL
       AND COALESCE(p_to - p_from NOT BETWEEN 0 AND public.register_allowance(p_max_power_w, p_from_at, p_to_at), true);
COMMENT ON FUNCTION register_doubtful(double precision, bigint, timestamptz, bigint, timestamptz) IS
    'Whether a register fell or moved farther than is believed from one read to the next, or one of the two lacks it';
GRANT EXECUTE ON FUNCTION register_allowance(double precision, timestamptz, timestamptz) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION register_share(bigint, timestamptz, timestamptz, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION register_at_start(bigint, timestamptz, timestamptz, bigint, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION register_at_end(bigint, timestamptz, timestamptz, bigint, timestamptz) TO segs_worker;
GRANT EXECUTE ON FUNCTION register_doubtful(double precision, bigint, timestamptz, bigint, timestamptz) TO segs_worker;
