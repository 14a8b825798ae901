-- What meters told last.

CREATE OR REPLACE FUNCTION latest_values(p_meters integer[], p_from timestamptz, p_to timestamptz)
RETURNS TABLE (meter_id integer, "time" timestamptz, flags smallint, power_w real, power_l1_w real, power_l2_w real, power_l3_w real,
               apparent_power_va real, reactive_power_var real, power_factor real, voltage_l1_v real, voltage_l2_v real,
               voltage_l3_v real, current_l1_a real, current_l2_a real, current_l3_a real, frequency_hz real,
               energy_import_wh bigint, energy_export_wh bigint, reactive_energy_import_varh bigint, reactive_energy_export_varh bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
-- Asked all the time: to plan for each chunk takes longer than to look into one. Those out of the time are left out all the same.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_meters integer[] := p_meters;
    v_meter_id integer;
    v_granted tstzmultirange;
    v_part tstzrange;
    v_recent timestamptz;
BEGIN
    PERFORM require_span(p_from, p_to);
    IF cardinality(v_meters) > 1 THEN
        v_meters := ARRAY(SELECT DISTINCT m.meter_id FROM unnest(p_meters) AS m (meter_id) ORDER BY m.meter_id);
    END IF;
    <<of_meter>>
    FOREACH v_meter_id IN ARRAY coalesce(v_meters, '{}') LOOP
        v_granted := require_granted(v_meter_id) * tstzmultirange(tstzrange(p_from, p_to));
        WHILE NOT isempty(v_granted) LOOP
            -- The last part, as a rule the only one.
            v_part := range_merge(v_granted);
            IF v_granted <> tstzmultirange(v_part) THEN
                SELECT u.part INTO v_part FROM unnest(v_granted) AS u (part) ORDER BY u.part DESC LIMIT 1;
            END IF;
            v_granted := v_granted - tstzmultirange(v_part);
            -- Most are recent: to begin with all days takes three times as long. What is asked for goes a day beyond now.
            v_recent := greatest(lower(v_part), upper(v_part) - INTERVAL '26 hours');
            FOR v_step IN 1 .. 2 LOOP
                RETURN QUERY
                SELECT w.meter_id, w.time, w.flags, w.power_w, w.power_l1_w, w.power_l2_w, w.power_l3_w, w.apparent_power_va,
                       w.reactive_power_var, w.power_factor, w.voltage_l1_v, w.voltage_l2_v, w.voltage_l3_v, w.current_l1_a,
                       w.current_l2_a, w.current_l3_a, w.frequency_hz, w.energy_import_wh, w.energy_export_wh,
                       w.reactive_energy_import_varh, w.reactive_energy_export_varh
                FROM raw_readings AS w
                WHERE w.meter_id = v_meter_id AND w.time >= v_recent AND w.time < upper(v_part)
                ORDER BY w.time DESC LIMIT 1;
                CONTINUE of_meter WHEN FOUND;
                EXIT WHEN v_recent = lower(v_part);
                v_recent := lower(v_part);
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION latest_values(integer[], timestamptz, timestamptz) IS
    'The newest reading of each meter from p_from to p_to that is the caller''s to read, by meter; no row for one without any. Raises SG060 where one of the meters may not be read at any time, SG062';
GRANT EXECUTE ON FUNCTION latest_values(integer[], timestamptz, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION latest_granted(p_grants text, p_meters integer[], p_now timestamptz)
RETURNS TABLE (meter_id integer, reading json)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('segs.grants', p_grants, true);
    IF COALESCE(p_grants, '') = '' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT l.meter_id, (SELECT row_to_json(r) FROM (
        SELECT l.time, l.flags, l.power_w, l.power_l1_w, l.power_l2_w, l.power_l3_w, l.apparent_power_va, l.reactive_power_var,
            l.power_factor, l.voltage_l1_v, l.voltage_l2_v, l.voltage_l3_v, l.current_l1_a, l.current_l2_a, l.current_l3_a,
            l.frequency_hz, l.energy_import_wh, l.energy_export_wh, l.reactive_energy_import_varh, l.reactive_energy_export_varh
    ) AS r)
    FROM latest_values(p_meters, p_now - INTERVAL '7 days', p_now + INTERVAL '1 day') AS l;
END
$$;
COMMENT ON FUNCTION latest_granted(text, integer[], timestamptz) IS
    'latest_values() of the last seven days as JSON, by what p_grants says in place of segs.grants, for one question of several in a statement; no rows where it says nothing. Raises SG060';
GRANT EXECUTE ON FUNCTION latest_granted(text, integer[], timestamptz) TO segs_api;
