-- Refreshing over raw readings that retention has dropped would empty the minutes: start_offset stays under their 7 days.

DO $$
BEGIN
    IF is_community() THEN
        PERFORM add_continuous_aggregate_policy('cagg_1m', start_offset => INTERVAL '5 days', end_offset => INTERVAL '1 minute',
                                                schedule_interval => INTERVAL '1 minute', if_not_exists => true);
    END IF;
END
$$;
