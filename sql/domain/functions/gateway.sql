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

CREATE OR REPLACE FUNCTION gateway_add(p_name text, p_key_hash bytea, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_gateway_id integer;
BEGIN
    INSERT INTO gateways (name, created_at, updated_at) VALUES (p_name, p_now, p_now)
    ON CONFLICT (name) DO NOTHING
    RETURNING gateway_id INTO v_gateway_id;
    IF v_gateway_id IS NULL THEN
        RAISE EXCEPTION 'there is a gateway % already', p_name
            USING ERRCODE = 'SG011', HINT = 'segs-cloud gateway key-add gives it another key.';
    END IF;
    PERFORM gateway_key_add(p_name, p_key_hash, p_now);
    RETURN v_gateway_id;
END
$$;
COMMENT ON FUNCTION gateway_add(text, bytea, timestamptz) IS 'Makes a gateway with its first key, by its SHA-256; returns its key; raises SG011 name taken, SG012 key known already';
GRANT EXECUTE ON FUNCTION gateway_add(text, bytea, timestamptz) TO segs_api;

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
