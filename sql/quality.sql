-- Which of two ESPI QualityOfReading codes is the worse one: 10 failed checks, 9 interpolated, 8 estimated, 7 edited,
-- 18 verified though failed, 14 raw, 17 validated, 0 valid, 19 billing.

CREATE OR REPLACE FUNCTION quality_raw() RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 14::smallint;
COMMENT ON FUNCTION quality_raw() IS 'Quality code of energy between reads that are believed';

CREATE OR REPLACE FUNCTION quality_interpolated() RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 9::smallint;
COMMENT ON FUNCTION quality_interpolated() IS 'Quality code of energy that begins, ends or lies within a gap';

CREATE OR REPLACE FUNCTION quality_failed() RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 10::smallint;
COMMENT ON FUNCTION quality_failed() IS 'Quality code where a read is not believed, or was not taken as it came';

CREATE OR REPLACE FUNCTION quality_order() RETURNS smallint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[19, 0, 17, 14, 18, 7, 8, 9, 10]::smallint[];
COMMENT ON FUNCTION quality_order() IS 'Quality codes from the best to the worst';

CREATE OR REPLACE FUNCTION quality_rank(p_quality smallint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.array_position(quality_order(), p_quality);
COMMENT ON FUNCTION quality_rank(smallint) IS 'Rank of a quality code, 1 the best to 9 the worst';

CREATE OR REPLACE FUNCTION quality_of_rank(p_rank integer) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (quality_order())[p_rank];
COMMENT ON FUNCTION quality_of_rank(integer) IS 'Quality code of a rank: quality_of_rank(max(quality_rank(quality))) is the worst of many';
GRANT EXECUTE ON FUNCTION quality_raw() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION quality_interpolated() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION quality_failed() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION quality_order() TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION quality_rank(smallint) TO segs_worker, segs_readonly;
GRANT EXECUTE ON FUNCTION quality_of_rank(integer) TO segs_worker, segs_readonly;
