-- Transactions that change the registry no longer wait for one another. The registry is copied once more.

DROP TABLE registry_state;
CREATE TABLE registry_state (
    lane integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token uuid NOT NULL DEFAULT gen_random_uuid(),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    began_at timestamptz NOT NULL DEFAULT transaction_timestamp()
);
