-- Gateways and their keys. The caller makes the key, shows it once and hands over its hash alone.

CREATE OR REPLACE FUNCTION gateway_id_of(p_name text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_id integer;
BEGIN
    SELECT gateway_id INTO v_gateway_id FROM gateways WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no gateway %', p_name USING ERRCODE = 'SG010', HINT = 'segs-cloud gateway add makes one.';
    END IF;
    RETURN v_gateway_id;
END
$$;
COMMENT ON FUNCTION gateway_id_of(text) IS 'Key of the gateway of that name; raises SG010 when there is none';
GRANT EXECUTE ON FUNCTION gateway_id_of(text) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_key_add(p_name text, p_key_hash bytea, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_key_id integer;
BEGIN
    INSERT INTO gateway_keys (gateway_id, key_hash, created_at)
    VALUES (gateway_id_of(p_name), p_key_hash, p_now)
    RETURNING gateway_key_id INTO v_gateway_key_id;
    RETURN v_gateway_key_id;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'the key for gateway % was given before', p_name USING ERRCODE = 'SG012', HINT = 'Make another key.';
END
$$;
COMMENT ON FUNCTION gateway_key_add(text, bytea, timestamptz) IS 'Adds a key, by its SHA-256, beside those the gateway has; raises SG010 unknown gateway, SG012 key known already';
GRANT EXECUTE ON FUNCTION gateway_key_add(text, bytea, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_add(p_name text, p_key_hash bytea, p_now timestamptz, p_region text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_id integer;
BEGIN
    IF p_region IS NOT NULL AND NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region) THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    INSERT INTO gateways (name, region, created_at, updated_at) VALUES (p_name, p_region, p_now, p_now)
    ON CONFLICT (name) DO NOTHING
    RETURNING gateway_id INTO v_gateway_id;
    IF v_gateway_id IS NULL THEN
        RAISE EXCEPTION 'there is a gateway % already', p_name
            USING ERRCODE = 'SG011', HINT = 'segs-cloud gateway key-add gives it another key.';
    END IF;
    PERFORM gateway_key_add(p_name, p_key_hash, p_now);
    RETURN v_gateway_id;
EXCEPTION WHEN insufficient_privilege THEN
    IF caller_id() IS NULL THEN
        RAISE;
    END IF;
    RAISE EXCEPTION 'a gateway of % is not yours to make', coalesce('region ' || p_region, 'no region')
        USING ERRCODE = 'SG070', HINT = 'Give one of your regions.';
END
$$;
COMMENT ON FUNCTION gateway_add(text, bytea, timestamptz, text) IS 'Makes a gateway with its first key, by its SHA-256, in the care of a region''s operators; returns its key; raises SG011 name taken, SG012 key known already, SG024 no such region, SG070 the region is not one of the caller''s';
GRANT EXECUTE ON FUNCTION gateway_add(text, bytea, timestamptz, text) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_key_revoke(p_name text, p_key_hash bytea, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE gateway_keys
       SET revoked_at = greatest(p_now, created_at)
     WHERE gateway_id = gateway_id_of(p_name) AND key_hash = p_key_hash AND revoked_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'gateway % has no such valid key', p_name
            USING ERRCODE = 'SG013', HINT = 'It was revoked before, or is another gateway''s.';
    END IF;
END
$$;
COMMENT ON FUNCTION gateway_key_revoke(text, bytea, timestamptz) IS 'Revokes one key at once; raises SG010 unknown gateway, SG013 no such valid key';
GRANT EXECUTE ON FUNCTION gateway_key_revoke(text, bytea, timestamptz) TO segs_api;

-- A gateway that loses its last key by a slip of the pen delivers nothing until somebody has been there.
CREATE OR REPLACE FUNCTION gateway_key_end(p_name text, p_gateway_key_id integer, p_last boolean, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_id CONSTANT integer := gateway_id_of(p_name);
BEGIN
    -- Of two keys that are revoked at the same time one is the last.
    PERFORM FROM gateways g WHERE g.gateway_id = v_gateway_id FOR NO KEY UPDATE;
    PERFORM gateway_key_revoke(p_name, (SELECT k.key_hash FROM gateway_keys k WHERE k.gateway_key_id = p_gateway_key_id), p_now);
    IF NOT p_last AND NOT EXISTS (SELECT FROM gateway_keys k WHERE k.gateway_id = v_gateway_id AND k.revoked_at IS NULL) THEN
        RAISE EXCEPTION 'key % is the last that gateway % has', p_gateway_key_id, p_name
            USING ERRCODE = 'SG073', HINT = 'Give it another key first, or say that it is to have none.';
    END IF;
END
$$;
COMMENT ON FUNCTION gateway_key_end(text, integer, boolean, timestamptz) IS 'Revokes one key at once, by its number; the last one only where p_last says so; raises SG010 unknown gateway, SG013 no such valid key, SG073 the last one';
GRANT EXECUTE ON FUNCTION gateway_key_end(text, integer, boolean, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_enable(p_name text, p_enabled boolean, p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE gateways SET disabled_at = CASE WHEN NOT p_enabled THEN coalesce(disabled_at, p_now) END
     WHERE gateway_id = gateway_id_of(p_name) AND (disabled_at IS NULL) <> p_enabled
$$;
COMMENT ON FUNCTION gateway_enable(text, boolean, timestamptz) IS 'Whether anything is accepted from a gateway; its keys stay; raises SG010 unknown gateway';
GRANT EXECUTE ON FUNCTION gateway_enable(text, boolean, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION gateway_region_set(p_name text, p_region text) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF p_region IS NOT NULL AND NOT EXISTS (SELECT FROM regions r WHERE r.region = p_region) THEN
        RAISE EXCEPTION 'there is no region %', p_region USING ERRCODE = 'SG024', HINT = regions_there_are();
    END IF;
    UPDATE gateways SET region = p_region WHERE gateway_id = gateway_id_of(p_name);
END
$$;
COMMENT ON FUNCTION gateway_region_set(text, text) IS 'Whose operators look after a gateway, NULL for those of its meters; its meters stay where they are; raises SG010 unknown gateway, SG024 no such region';
GRANT EXECUTE ON FUNCTION gateway_region_set(text, text) TO segs_api;
