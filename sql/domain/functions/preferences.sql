CREATE OR REPLACE FUNCTION add_user_preferences() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO user_preferences (user_id, timezone)
    VALUES (NEW.user_id, coalesce((SELECT r.timezone FROM regions r WHERE r.region = NEW.region), 'UTC'));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION add_user_preferences() IS 'Gives a new user the default preferences, in the zone of the user''s region';
