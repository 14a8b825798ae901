-- What was in force is never altered. The one thing that happens to a price is that it ends, once, and not before what people
-- were told already: region_price_state says until when that is.

CREATE OR REPLACE FUNCTION guard_region_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- What is generated is empty until the row is stored.
    v_end CONSTANT text[] := ARRAY['valid', 'price'];
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(NEW) - v_end <> to_jsonb(OLD) - v_end OR lower(NEW.valid) <> lower(OLD.valid)
       OR upper(OLD.valid) < 'infinity' THEN
        RAISE EXCEPTION 'the price of % from % on stays as it was', OLD.region, lower(OLD.valid)
            USING ERRCODE = 'SG035', HINT = 'Prices change from now on, and not backwards.';
    END IF;
    IF upper(NEW.valid) < (SELECT s.told_until FROM region_price_state s WHERE s.region = OLD.region) THEN
        RAISE EXCEPTION 'the price of % from % on was in force after %', OLD.region, lower(OLD.valid), upper(NEW.valid)
            USING ERRCODE = 'SG035', HINT = 'Prices change from now on, and not backwards.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION guard_region_price() IS 'Raises SG035 when a price of a region would be deleted or altered, or would end more than once, or before now';

CREATE OR REPLACE FUNCTION guard_price_override() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_end CONSTANT text[] := ARRAY['ended_at', 'ended_by', 'end_reason', 'in_force'];
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(NEW) - v_end <> to_jsonb(OLD) - v_end OR OLD.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'override % of % stays as it was', OLD.price_override_id, OLD.region
            USING ERRCODE = 'SG035', HINT = 'End it, from now on.';
    END IF;
    IF NEW.ended_at < (SELECT s.told_until FROM region_price_state s WHERE s.region = OLD.region) THEN
        RAISE EXCEPTION 'override % of % was in force after %', OLD.price_override_id, OLD.region, NEW.ended_at
            USING ERRCODE = 'SG035', HINT = 'End it, from now on.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION guard_price_override() IS 'Raises SG035 when an override would be deleted or altered, or would end more than once, or before now';

CREATE OR REPLACE FUNCTION refuse_price_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the price of % from % on stays as it is', OLD.code, lower(OLD.valid) USING ERRCODE = 'SG035', HINT = 'Bills are made by it.';
END
$$;
COMMENT ON FUNCTION refuse_price_change() IS 'Raises SG035: a price that a tariff has for an interval is neither changed nor deleted';

CREATE OR REPLACE FUNCTION refuse_price_removal() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is kept: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'SG035', HINT = 'Bills are made by it.';
END
$$;
COMMENT ON FUNCTION refuse_price_removal() IS 'Raises SG035: prices are not emptied out';
