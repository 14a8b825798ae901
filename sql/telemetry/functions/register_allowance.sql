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
GRANT EXECUTE ON FUNCTION register_allowance(double precision, timestamptz, timestamptz) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION register_share(bigint, timestamptz, timestamptz, timestamptz) TO segs_worker;
