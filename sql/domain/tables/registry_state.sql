-- What the registry views show, by name: the cloud copies them when the name has changed, and need not read them to know.
-- The name is made of all tokens. A transaction that changes the registry gives one row a token, a row that no other
-- transaction holds, and holds it to its end; so none waits for another. Where it finds all rows held it adds one: there are
-- hardly more than there ever were such transactions at once. What a snapshot sees of a row changes with each commit that it
-- sees of those that held the row, one after the other. So of two snapshots that see different changes no two names are alike,
-- in whatever order the transactions began, wrote and committed.

CREATE TABLE IF NOT EXISTS registry_state (
    lane integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token uuid NOT NULL DEFAULT gen_random_uuid(),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    began_at timestamptz NOT NULL DEFAULT transaction_timestamp()
);
INSERT INTO registry_state (token) SELECT gen_random_uuid() WHERE NOT EXISTS (SELECT FROM registry_state);
COMMENT ON TABLE registry_state IS 'Tokens of what the registry views show: who changes that gives one row another; hardly more rows than did so at once';
COMMENT ON COLUMN registry_state.lane IS 'Row key';
COMMENT ON COLUMN registry_state.token IS 'Random: a restored database has not by chance the one that was copied';
COMMENT ON COLUMN registry_state.transaction_id IS 'Transaction that gave the token';
COMMENT ON COLUMN registry_state.began_at IS 'When that transaction began: a restored database has transactions with the same numbers again';
GRANT SELECT ON registry_state TO segs_worker;

CREATE OR REPLACE FUNCTION registry_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_lane integer;
BEGIN
    -- Once is enough: nobody else sees the first change without the last. After a savepoint took it back, it is not seen here.
    IF EXISTS (SELECT FROM registry_state
                WHERE transaction_id = pg_current_xact_id() AND began_at = transaction_timestamp()) THEN
        RETURN NULL;
    END IF;
    SELECT lane INTO v_lane FROM registry_state LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE registry_state SET token = DEFAULT, transaction_id = DEFAULT, began_at = DEFAULT WHERE lane = v_lane;
    ELSE
        INSERT INTO registry_state DEFAULT VALUES;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION registry_changed() IS 'Gives a row of registry_state that no other transaction holds a new token, once in a transaction';

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
