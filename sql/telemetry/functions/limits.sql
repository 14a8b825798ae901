-- Spans of time that several statements go by, each in one place. Planned as constants.

CREATE OR REPLACE FUNCTION longest_gap() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN INTERVAL '7 days';
COMMENT ON FUNCTION longest_gap() IS 'Two reads of a register that lie so far apart, or farther, have no energy between them';

CREATE OR REPLACE FUNCTION usual_span() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN INTERVAL '21 days';
COMMENT ON FUNCTION usual_span() IS 'How far back what is usual for a meter is looked for';

CREATE OR REPLACE FUNCTION clock_disorder() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN INTERVAL '30 seconds';
COMMENT ON FUNCTION clock_disorder() IS 'How far a clock that was wrong can bring reads out of their order: a gateway''s clock counts up to this';

CREATE OR REPLACE FUNCTION is_gap(p_interval_ms integer, p_from timestamptz, p_to timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_to - p_from > p_interval_ms * INTERVAL '1.5 milliseconds';
COMMENT ON FUNCTION is_gap(integer, timestamptz, timestamptz) IS
    'Whether reads at p_from and p_to lie farther apart than one and a half of the meter''s intervals';
GRANT EXECUTE ON FUNCTION longest_gap() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION usual_span() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION clock_disorder() TO segs_worker;
GRANT EXECUTE ON FUNCTION is_gap(integer, timestamptz, timestamptz) TO segs_worker;
