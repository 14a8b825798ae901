-- What operators set for a while, in place of the price that a region's load would have.

CREATE OR REPLACE FUNCTION price_override_add(
    p_region text, p_factor numeric, p_price numeric, p_from timestamptz, p_until timestamptz, p_reason text, p_now timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := region_price_hold(p_region, p_now);
    v_from CONSTANT timestamptz := coalesce(p_from, quarter_ceiling(v_now));
    v_there price_overrides;
    v_id bigint;
BEGIN
    IF v_from < v_now OR v_from <> quarter_ceiling(v_from) OR p_until <> quarter_ceiling(p_until) OR p_until <= v_from OR NOT isfinite(p_until) THEN
        RAISE EXCEPTION 'from % to % no price can be set', v_from, p_until
            USING ERRCODE = 'SG094', HINT = 'Give quarter-hours, at minute 0, 15, 30 or 45, that have not begun, the later one last.';
    END IF;
    IF num_nonnulls(p_factor, p_price) <> 1 OR 'NaN' IN (coalesce(p_factor, 0), coalesce(p_price, 0)) THEN
        RAISE EXCEPTION 'an override has a factor or a price' USING ERRCODE = 'SG094', HINT = 'Give one of them.';
    END IF;
    SELECT o.* INTO v_there FROM price_overrides o WHERE o.region = p_region AND o.in_force && tstzrange(v_from, p_until) ORDER BY o.in_force LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'override % of % is in force from % to %', v_there.price_override_id, p_region, lower(v_there.in_force), upper(v_there.in_force)
            USING ERRCODE = 'SG095', HINT = 'End it first, or give another time.';
    END IF;
    INSERT INTO price_overrides (region, factor, price, valid, reason, made_by, created_at)
    VALUES (p_region, p_factor, p_price, tstzrange(v_from, p_until), p_reason, bill_actor(), v_now) RETURNING price_override_id INTO v_id;
    PERFORM region_price_tell(p_region, v_from, v_now);
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION price_override_add(text, numeric, numeric, timestamptz, timestamptz, text, timestamptz) IS 'Sets the price of a region, or the factor on its base price, from a quarter-hour (NULL for the next) to another; its number. Raises SG024 no such region, SG093 no price, SG094 a time or value that cannot be, SG095 another override then';

CREATE OR REPLACE FUNCTION price_override_end(p_region text, p_override_id bigint, p_reason text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := region_price_hold(p_region, p_now);
    v_override price_overrides;
BEGIN
    SELECT o.* INTO v_override FROM price_overrides o WHERE o.price_override_id = p_override_id AND o.region = p_region;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'region % has no override %', p_region, p_override_id USING ERRCODE = 'SG096';
    END IF;
    IF v_override.ended_at IS NOT NULL OR upper(v_override.in_force) <= v_now THEN
        RAISE EXCEPTION 'override % of % is over since %', p_override_id, p_region, coalesce(v_override.ended_at, upper(v_override.valid)) USING ERRCODE = 'SG097';
    END IF;
    UPDATE price_overrides SET ended_at = v_now, ended_by = bill_actor(), end_reason = p_reason WHERE price_override_id = p_override_id;
    PERFORM region_price_tell(p_region, greatest(quarter_ceiling(v_now), lower(v_override.valid)), v_now);
END
$$;
COMMENT ON FUNCTION price_override_end(text, bigint, text, timestamptz) IS 'Ends an override with this quarter-hour, or before it begins; what was in force stays so. Raises SG024 no such region, SG093 no price, SG096 no such override, SG097 it is over';

CREATE OR REPLACE FUNCTION kept_region(p_region text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region AND (caller_role() = 'ADMIN' OR r.region = ANY (caller_regions()))) THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024';
    END IF;
    RETURN p_region;
END
$$;
COMMENT ON FUNCTION kept_region(text) IS 'The region, if the caller looks after it: one of its operators, or an admin; raises SG024';

CREATE OR REPLACE FUNCTION caller_overrides_price(
    p_region text, p_factor numeric, p_price numeric, p_from timestamptz, p_until timestamptz, p_reason text, p_now timestamptz)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT price_override_add(kept_region(p_region), p_factor, p_price, p_from, p_until, p_reason, p_now)
$$;
COMMENT ON FUNCTION caller_overrides_price(text, numeric, numeric, timestamptz, timestamptz, text, timestamptz) IS 'price_override_add() by who looks after the region; raises as that does, SG024 for anybody else';

CREATE OR REPLACE FUNCTION caller_ends_override(p_region text, p_override_id bigint, p_reason text, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT price_override_end(kept_region(p_region), p_override_id, p_reason, p_now)
$$;
COMMENT ON FUNCTION caller_ends_override(text, bigint, text, timestamptz) IS 'price_override_end() by who looks after the region; raises as that does, SG024 for anybody else';
GRANT EXECUTE ON FUNCTION caller_overrides_price(text, numeric, numeric, timestamptz, timestamptz, text, timestamptz),
    caller_ends_override(text, bigint, text, timestamptz) TO segs_api;
