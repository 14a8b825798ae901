CREATE OR REPLACE FUNCTION network_of(p_address inet) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE family(p_address) WHEN 4 THEN host(p_address) WHEN 6 THEN text(network(set_masklen(p_address, 64))) ELSE '-' END
$$;
COMMENT ON FUNCTION network_of(inet) IS 'Whom limits count for: an IPv4 address, or the 64 bits of an IPv6 address that one customer has; - for none';
GRANT EXECUTE ON FUNCTION network_of(inet) TO segs_api;
