CREATE OR REPLACE FUNCTION meter_exchange(
    p_meter_code text, p_at timestamptz, p_model text, p_serial text, p_final_import_wh bigint, p_final_export_wh bigint,
    p_first_import_wh bigint, p_first_export_wh bigint, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_old meters;
BEGIN
    SELECT m.* INTO v_old FROM meters m WHERE m.meter_code = p_meter_code FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    IF p_at > p_now THEN
        RAISE EXCEPTION 'an exchange at % has not happened yet', p_at USING ERRCODE = 'SG026', HINT = 'Tell it afterwards.';
    END IF;
    IF EXISTS (SELECT FROM meter_exchanges e WHERE e.meter_id = v_old.meter_id AND e.exchanged_at >= p_at) THEN
        RAISE EXCEPTION 'meter % was exchanged at % or later already', p_meter_code, p_at
            USING ERRCODE = 'SG027', HINT = 'Tell exchanges in their order.';
    END IF;
    INSERT INTO meter_exchanges (meter_id, exchanged_at, old_model, old_serial, new_model, new_serial, final_import_wh,
        final_export_wh, first_import_wh, first_export_wh, created_at, updated_at)
    VALUES (v_old.meter_id, p_at, v_old.model, v_old.serial, coalesce(p_model, v_old.model), p_serial, p_final_import_wh,
        p_final_export_wh, p_first_import_wh, p_first_export_wh, p_now, p_now);
    UPDATE meters SET model = coalesce(p_model, v_old.model), serial = p_serial, updated_at = p_now
     WHERE meter_id = v_old.meter_id;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'serial % is that of another meter', p_serial USING ERRCODE = 'SG025', HINT = 'Look at its plate again.';
END
$$;
COMMENT ON FUNCTION meter_exchange(text, timestamptz, text, text, bigint, bigint, bigint, bigint, timestamptz) IS
    'Another meter (p_serial, p_model: NULL for the same one) measures from p_at on; final reads of the old and first reads of the new one in Wh, NULL where nobody took them. Raises SG022 no such meter, SG025 the serial is taken, SG026 not yet, SG027 out of order';
GRANT EXECUTE ON FUNCTION meter_exchange(text, timestamptz, text, text, bigint, bigint, bigint, bigint, timestamptz) TO segs_api;
