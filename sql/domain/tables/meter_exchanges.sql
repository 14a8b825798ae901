-- One meter taken away and another put in its place: the metering point, its code and its bills stay. Rows end, they never go.

CREATE TABLE IF NOT EXISTS meter_exchanges (
    meter_exchange_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id integer NOT NULL REFERENCES meters ON DELETE RESTRICT,
    exchanged_at timestamptz NOT NULL CHECK (isfinite(exchanged_at)),
    old_model text,
    old_serial text,
    new_model text,
    new_serial text,
    final_import_wh bigint CHECK (final_import_wh >= 0),
    final_export_wh bigint CHECK (final_export_wh >= 0),
    first_import_wh bigint CHECK (first_import_wh >= 0),
    first_export_wh bigint CHECK (first_export_wh >= 0),
    despite text CHECK (despite <> ''),
    revoked_at timestamptz,
    revoked_reason text CHECK (revoked_reason <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT meter_exchanges_revocation_has_a_reason CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS meter_exchanges_one_at_an_instant ON meter_exchanges (meter_id, exchanged_at) WHERE revoked_at IS NULL;
COMMENT ON TABLE meter_exchanges IS 'Exchanges of meters, with the final reads of the old and the first reads of the new one; no energy is the difference of two meters';
COMMENT ON COLUMN meter_exchanges.meter_exchange_id IS 'Row key';
COMMENT ON COLUMN meter_exchanges.meter_id IS 'The metering point, meters.meter_id';
COMMENT ON COLUMN meter_exchanges.exchanged_at IS 'The instant of the exchange; a reading of this instant is one of the new meter';
COMMENT ON COLUMN meter_exchanges.old_model IS 'Model of the meter that was taken away';
COMMENT ON COLUMN meter_exchanges.old_serial IS 'Its serial number';
COMMENT ON COLUMN meter_exchanges.new_model IS 'Model of the meter that was put in';
COMMENT ON COLUMN meter_exchanges.new_serial IS 'Its serial number';
COMMENT ON COLUMN meter_exchanges.final_import_wh IS 'Final read of the old import register, Wh; NULL when nobody took it';
COMMENT ON COLUMN meter_exchanges.final_export_wh IS 'Final read of the old export register, Wh; NULL when nobody took it';
COMMENT ON COLUMN meter_exchanges.first_import_wh IS 'First read of the new import register, Wh; NULL when nobody took it';
COMMENT ON COLUMN meter_exchanges.first_export_wh IS 'First read of the new export register, Wh; NULL when nobody took it';
COMMENT ON COLUMN meter_exchanges.despite IS 'Why it was recorded although readings contradict its reads; NULL where none did';
COMMENT ON COLUMN meter_exchanges.revoked_at IS 'When it was revoked: it never happened; NULL while it stands';
COMMENT ON COLUMN meter_exchanges.revoked_reason IS 'Why it was revoked';
COMMENT ON COLUMN meter_exchanges.created_at IS 'When the row was made';
COMMENT ON COLUMN meter_exchanges.updated_at IS 'When the row changed last';
COMMENT ON INDEX meter_exchanges_one_at_an_instant IS 'A meter is exchanged once at an instant';
CREATE OR REPLACE TRIGGER meter_exchanges_touch BEFORE UPDATE ON meter_exchanges FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE OR REPLACE TRIGGER meter_exchanges_audit AFTER INSERT OR UPDATE OR DELETE ON meter_exchanges
    FOR EACH ROW EXECUTE FUNCTION audit_change('meter_exchange_id');
GRANT SELECT, INSERT, UPDATE ON meter_exchanges TO segs_api;
GRANT SELECT ON meter_exchanges TO segs_worker, segs_readonly;
