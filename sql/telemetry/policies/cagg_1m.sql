-- Refreshing over raw readings that retention has dropped would empty the minutes: start_offset stays under their 7 days.
-- The job is made anew, so that an edit reaches it.

DO $$
BEGIN
    IF is_community() THEN
        PERFORM remove_continuous_aggregate_policy('cagg_1m', if_exists => true);
        PERFORM add_continuous_aggregate_policy('cagg_1m', start_offset => INTERVAL '5 days', end_offset => INTERVAL '1 minute',
                                                schedule_interval => INTERVAL '1 minute');
    END IF;
END
$$;
