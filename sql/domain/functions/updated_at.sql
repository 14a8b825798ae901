-- Before the row is stored its generated columns are still empty, so a table names those as the trigger's arguments.
CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_generated CONSTANT text[] := coalesce(TG_ARGV, '{}');
BEGIN
    IF to_jsonb(NEW) - v_generated <> to_jsonb(OLD) - v_generated THEN
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at);
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION touch_updated_at() IS 'Stamps updated_at of a row that an UPDATE really changes; it never runs backwards. Its arguments are the generated columns';
