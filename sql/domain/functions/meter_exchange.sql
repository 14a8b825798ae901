CREATE OR REPLACE FUNCTION meter_exchange(
    p_meter_code text, p_at timestamptz, p_model text, p_serial text, p_final_import_wh bigint, p_final_export_wh bigint,
    p_first_import_wh bigint, p_first_export_wh bigint, p_now timestamptz, p_despite text DEFAULT NULL)
RETURNS meter_exchanges
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_old meters;
    v_told meter_exchanges;
BEGIN
    SELECT m.* INTO v_old FROM meters m WHERE m.meter_code = p_meter_code FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    IF p_at > p_now THEN
        RAISE EXCEPTION 'an exchange at % has not happened yet', p_at USING ERRCODE = 'SG026', HINT = 'Tell it afterwards.';
    END IF;
    SELECT e.* INTO v_told FROM meter_exchanges e
     WHERE e.meter_id = v_old.meter_id AND e.exchanged_at >= p_at AND e.revoked_at IS NULL
     ORDER BY e.exchanged_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'meter % was exchanged at % or later already: at %', p_meter_code, p_at, v_told.exchanged_at
            USING ERRCODE = 'SG027', HINT = 'Tell exchanges in their order; one that was told wrongly is revoked first.';
    END IF;
    IF p_serial = v_old.serial AND coalesce(p_model = v_old.model, true) THEN
        RAISE EXCEPTION 'serial % is that of the meter that is there', p_serial
            USING ERRCODE = 'SG025', HINT = 'Give the one of the new meter; look at both plates again.';
    END IF;
    INSERT INTO meter_exchanges (meter_id, exchanged_at, old_model, old_serial, new_model, new_serial, final_import_wh,
        final_export_wh, first_import_wh, first_export_wh, despite, created_at, updated_at)
    VALUES (v_old.meter_id, p_at, v_old.model, v_old.serial, coalesce(p_model, v_old.model), p_serial, p_final_import_wh,
        p_final_export_wh, p_first_import_wh, p_first_export_wh, p_despite, p_now, p_now)
    RETURNING * INTO v_told;
    UPDATE meters SET model = v_told.new_model, serial = p_serial, updated_at = p_now WHERE meter_id = v_old.meter_id;
    RETURN v_told;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'serial % is that of another meter', p_serial USING ERRCODE = 'SG025', HINT = 'Look at its plate again.';
END
$$;
COMMENT ON FUNCTION meter_exchange(text, timestamptz, text, text, bigint, bigint, bigint, bigint, timestamptz, text) IS
    'Another meter (p_serial, p_model: NULL for the same one) measures from p_at on; final reads of the old and first reads of the new one in Wh, NULL where nobody took them; p_despite says why, where readings contradict them. Returns what was recorded. Raises SG022 no such meter, SG025 the serial is taken, SG026 not yet, SG027 out of order';
GRANT EXECUTE ON FUNCTION meter_exchange(text, timestamptz, text, text, bigint, bigint, bigint, bigint, timestamptz, text) TO segs_api;

CREATE OR REPLACE FUNCTION meter_exchange_revoke(p_meter_code text, p_at timestamptz, p_reason text, p_now timestamptz)
RETURNS meter_exchanges
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id integer;
    v_told meter_exchanges;
    v_later timestamptz;
BEGIN
    SELECT m.meter_id INTO v_meter_id FROM meters m WHERE m.meter_code = p_meter_code FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    SELECT max(e.exchanged_at) INTO v_later FROM meter_exchanges e
     WHERE e.meter_id = v_meter_id AND e.exchanged_at > p_at AND e.revoked_at IS NULL;
    IF v_later IS NOT NULL THEN
        RAISE EXCEPTION 'meter % was exchanged again at %', p_meter_code, v_later
            USING ERRCODE = 'SG029', HINT = 'Revoke exchanges from the last one back.';
    END IF;
    UPDATE meter_exchanges e SET revoked_at = p_now, revoked_reason = p_reason
     WHERE e.meter_id = v_meter_id AND e.exchanged_at = p_at AND e.revoked_at IS NULL
    RETURNING e.* INTO v_told;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'meter % was not exchanged at %', p_meter_code, p_at USING ERRCODE = 'SG028';
    END IF;
    UPDATE meters SET model = v_told.old_model, serial = v_told.old_serial, updated_at = p_now WHERE meter_id = v_meter_id;
    RETURN v_told;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'serial %, which the meter had before, is that of another meter now', v_told.old_serial
        USING ERRCODE = 'SG025', HINT = 'Exchange or rename that one first.';
END
$$;
COMMENT ON FUNCTION meter_exchange_revoke(text, timestamptz, text, timestamptz) IS
    'The exchange at p_at never happened: the meter has its old model and serial again, and its registers go on across that instant. Returns what was revoked. Raises SG022 no such meter, SG025 another meter has the old serial now, SG028 no exchange then, SG029 a later one stands';
GRANT EXECUTE ON FUNCTION meter_exchange_revoke(text, timestamptz, text, timestamptz) TO segs_api;
