CREATE OR REPLACE FUNCTION tariff_billed_until(p_tariff_id integer) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
BEGIN
    RETURN (SELECT max(coalesce(upper(l.span), i.period_end::timestamp AT TIME ZONE i.timezone))
              FROM invoice_line_items l JOIN invoices i USING (invoice_id) WHERE l.tariff_id = p_tariff_id);
END
$$;
COMMENT ON FUNCTION tariff_billed_until(integer) IS 'Until when bills, drafts too, were made by a price table; NULL for none';

-- With the owner's rights: an operator does not see the bills of other regions, which hold all the same.
CREATE OR REPLACE FUNCTION guard_tariff() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- What bills are made by never changes, and its origin only until the first of them; it gets another name, or an end.
    v_fixed CONSTANT text[] := ARRAY['code', 'currency', 'timezone', 'interval_s', 'document'];
    v_billed_until timestamptz;
BEGIN
    v_billed_until := tariff_billed_until(OLD.tariff_id);
    IF EXISTS (SELECT FROM unnest(v_fixed) AS f WHERE to_jsonb(NEW) -> f IS DISTINCT FROM to_jsonb(OLD) -> f)
       OR lower(NEW.valid) <> lower(OLD.valid) OR NEW.origin <> OLD.origin AND v_billed_until IS NOT NULL THEN
        RAISE EXCEPTION 'tariff % from % on cannot change: bills are made by it', OLD.code, lower(OLD.valid)
            USING ERRCODE = 'SG032', HINT = 'Add another price table to it, from a later time on.';
    END IF;
    IF upper(NEW.valid) < upper(OLD.valid) AND upper(NEW.valid) < v_billed_until THEN
        RAISE EXCEPTION 'tariff % from % on cannot end at %: bills were made by it until %',
            OLD.code, lower(OLD.valid), upper(NEW.valid), v_billed_until
            USING ERRCODE = 'SG032', HINT = 'End it at that time or later.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION guard_tariff() IS 'Raises SG032 when the prices of a table would change, or it would end before what was billed by it';
