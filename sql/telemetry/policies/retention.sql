-- Community: TimescaleDB's own jobs drop what retention_periods says, but for what is computed from: of that the workers drop
-- what has been computed. Apache has no jobs; there the workers do it all. A job is made anew, so that an edit reaches it.

DO $$
DECLARE
    v_period record;
BEGIN
    IF is_community() THEN
        FOR v_period IN SELECT p.hypertable, p.keep FROM retention_periods() AS p UNION ALL VALUES ('cagg_1m', INTERVAL '30 days') LOOP
            PERFORM remove_retention_policy(v_period.hypertable::regclass, if_exists => true);
            IF v_period.hypertable NOT IN ('raw_readings', 'aggregates_1m') THEN
                PERFORM add_retention_policy(v_period.hypertable::regclass, drop_after => v_period.keep);
            END IF;
        END LOOP;
    END IF;
END
$$;
