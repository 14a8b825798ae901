-- A region's price follows its load in steps: below the first threshold the first factor, from the last one on the last.

CREATE OR REPLACE FUNCTION price_steps_fit(p_thresholds numeric[], p_factors numeric[], p_hysteresis numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT p_thresholds IS NULL AND p_factors IS NULL
        OR (cardinality(p_thresholds) BETWEEN 1 AND 20 AND cardinality(p_factors) = cardinality(p_thresholds) + 1
            AND array_position(p_thresholds, NULL) IS NULL AND array_position(p_factors, NULL) IS NULL
            AND p_thresholds = ARRAY(SELECT DISTINCT t FROM unnest(p_thresholds) AS t ORDER BY t)
            AND p_thresholds[1] > coalesce(p_hysteresis, 0) AND p_thresholds[cardinality(p_thresholds)] <= 1000
            AND (SELECT bool_and(f BETWEEN 0 AND 100) FROM unnest(p_factors) AS f)) IS TRUE
$$;
COMMENT ON FUNCTION price_steps_fit(numeric[], numeric[], numeric) IS 'Whether thresholds (percent) rise, lie above the hysteresis (percent points) so that each can be left again, and have one factor more than there are; or whether neither are given';

-- Up at the threshold itself, down only below threshold - hysteresis: a load that moves within the band moves no price.
CREATE OR REPLACE FUNCTION load_tier(p_tier integer, p_load_percent numeric, p_thresholds numeric[], p_hysteresis numeric) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN p_tier IS NULL OR s.reached >= p_tier THEN s.reached ELSE least(p_tier, s.kept) END
      FROM (SELECT count(*) FILTER (WHERE p_load_percent >= t)::integer AS reached, count(*) FILTER (WHERE p_load_percent >= t - p_hysteresis)::integer AS kept
              FROM unnest(p_thresholds) AS t) AS s
$$;
COMMENT ON FUNCTION load_tier(integer, numeric, numeric[], numeric) IS 'The tier of a load (percent), from 0, after the tier before it (NULL for none): how many thresholds it has reached, or has not left yet';
