-- Exchanges can be revoked, and say why they were recorded against readings.

ALTER TABLE meter_exchanges
    ADD COLUMN despite text CHECK (despite <> ''),
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN revoked_reason text CHECK (revoked_reason <> ''),
    ADD CONSTRAINT meter_exchanges_revocation_has_a_reason CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL)),
    DROP CONSTRAINT meter_exchanges_one_at_an_instant;

CREATE UNIQUE INDEX meter_exchanges_one_at_an_instant ON meter_exchanges (meter_id, exchanged_at) WHERE revoked_at IS NULL;

DROP FUNCTION IF EXISTS meter_exchange(text, timestamptz, text, text, bigint, bigint, bigint, bigint, timestamptz);
