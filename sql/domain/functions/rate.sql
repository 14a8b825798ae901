CREATE OR REPLACE FUNCTION take_token(
    p_bucket text, p_capacity double precision, p_per_s double precision, p_now timestamptz,
    OUT allowed boolean, OUT remaining integer, OUT retry_after_s integer)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO rate_buckets AS b (bucket, tokens, allowed, updated_at)
    VALUES (p_bucket, greatest(p_capacity - 1, 0), p_capacity >= 1, p_now)
    ON CONFLICT (bucket) DO UPDATE
       SET (tokens, allowed, updated_at) = (
           SELECT CASE WHEN filled >= 1 THEN filled - 1 ELSE filled END, filled >= 1, greatest(b.updated_at, p_now)
             FROM (SELECT least(p_capacity, b.tokens + p_per_s * greatest(0, extract(epoch FROM p_now - b.updated_at))) AS filled) AS f)
    RETURNING b.allowed, floor(b.tokens)::integer, CASE WHEN b.allowed THEN 0 ELSE ceil((1 - b.tokens) / p_per_s)::integer END
$$;
COMMENT ON FUNCTION take_token(text, double precision, double precision, timestamptz) IS 'Takes a token from a bucket that holds p_capacity and gets p_per_s of them; whether there was one, how many remain, and in how many seconds there is one. Commit at once: others wait for the row';
GRANT EXECUTE ON FUNCTION take_token(text, double precision, double precision, timestamptz) TO segs_api;
