-- Community: TimescaleDB's own jobs drop what retention_periods says. Apache has no jobs; there the workers do it.

DO $$
DECLARE
    v_period record;
BEGIN
    IF is_community() THEN
        FOR v_period IN SELECT p.hypertable, p.keep FROM retention_periods() AS p LOOP
            PERFORM add_retention_policy(v_period.hypertable::regclass, drop_after => v_period.keep, if_not_exists => true);
        END LOOP;
        PERFORM add_retention_policy('cagg_1m', drop_after => INTERVAL '30 days', if_not_exists => true);
    END IF;
END
$$;
