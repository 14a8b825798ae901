-- What the registry views show, by name: the cloud copies them when the name has changed, and need not read them to know.

CREATE TABLE IF NOT EXISTS registry_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    token uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO registry_state DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE registry_state IS 'One row, with a new token after every statement that may have changed what the registry views show';
COMMENT ON COLUMN registry_state.only_row IS 'Always true';
COMMENT ON COLUMN registry_state.token IS 'Random: a restored database has not by chance the one that was copied';
GRANT SELECT ON registry_state TO segs_worker;

CREATE OR REPLACE FUNCTION registry_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE registry_state SET token = gen_random_uuid();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION registry_changed() IS 'Gives registry_state another token';

CREATE OR REPLACE TRIGGER regions_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON regions
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER region_capacities_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON region_capacities
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER gateways_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gateways
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER gateway_keys_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gateway_keys
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER meters_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON meters
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER meter_locations_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON meter_locations
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER meter_exchanges_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON meter_exchanges
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE OR REPLACE TRIGGER devices_registry AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON devices
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
