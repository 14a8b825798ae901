-- Spans of time that several statements go by, each in one place. Planned as constants.

CREATE OR REPLACE FUNCTION longest_gap() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN INTERVAL '7 days';
COMMENT ON FUNCTION longest_gap() IS 'Two reads of a register that lie so far apart, or farther, have no energy between them';

CREATE OR REPLACE FUNCTION usual_span() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN INTERVAL '21 days';
COMMENT ON FUNCTION usual_span() IS 'How far back what is usual for a meter is looked for';
GRANT EXECUTE ON FUNCTION longest_gap() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION usual_span() TO segs_worker, segs_readonly;
