CREATE OR REPLACE FUNCTION meter_give(p_meter_code text, p_user_id integer, p_from timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_meter_id integer;
    v_before meter_owners;
    v_billed record;
BEGIN
    SELECT m.meter_id INTO v_meter_id FROM meters m WHERE m.meter_code = p_meter_code FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no meter %', p_meter_code USING ERRCODE = 'SG022';
    END IF;
    SELECT o.* INTO v_before FROM meter_owners o WHERE o.meter_id = v_meter_id AND upper(o.valid) > p_from ORDER BY o.valid DESC LIMIT 1;
    -- Whoever has it on and on may have it from earlier on, as far back as it was nobody's.
    IF v_before.user_id = p_user_id AND lower(v_before.valid) > p_from AND upper(v_before.valid) = 'infinity'
       AND NOT EXISTS (SELECT FROM meter_owners o WHERE o.meter_id = v_meter_id AND o.valid && tstzrange(p_from, lower(v_before.valid))) THEN
        -- Of those who had it the ownership may have ended since, but not what they were billed.
        SELECT i.invoice_number AS number, upper(i.span) AS until INTO v_billed FROM invoices i
         WHERE i.meter_id = v_meter_id AND i.user_id <> p_user_id AND i.kind = 'invoice' AND i.status NOT IN ('draft', 'cancelled')
           AND i.span && tstzrange(p_from, lower(v_before.valid)) ORDER BY upper(i.span) DESC LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'meter % is billed to somebody else until %, by %', p_meter_code, v_billed.until, v_billed.number
                USING ERRCODE = 'SG032', HINT = 'Give it from then on; a credit note takes a bill back.';
        END IF;
        UPDATE meter_owners SET valid = tstzrange(p_from, upper(valid)) WHERE meter_owner_id = v_before.meter_owner_id;
        RETURN;
    END IF;
    IF v_before.meter_owner_id IS NOT NULL AND lower(v_before.valid) >= p_from THEN
        RAISE EXCEPTION 'meter % was given to somebody at % already', p_meter_code, lower(v_before.valid)
            USING ERRCODE = 'SG053', HINT = 'Give it from a later time on.';
    END IF;
    UPDATE meter_owners SET valid = tstzrange(lower(valid), p_from) WHERE meter_owner_id = v_before.meter_owner_id;
    IF p_user_id IS NOT NULL THEN
        INSERT INTO meter_owners (meter_id, user_id, valid, created_at, updated_at)
        VALUES (v_meter_id, p_user_id, tstzrange(p_from, 'infinity'), p_now, p_now);
    END IF;
END
$$;
COMMENT ON FUNCTION meter_give(text, integer, timestamptz, timestamptz) IS 'A meter is a user''s, or nobody''s (NULL), from p_from on; what it measured before stays with who had it. Given once more to who has it, it is theirs from then on too if it was nobody''s. Raises SG022 no such meter, SG032 billed to somebody else, SG053 given at that time or later already';
