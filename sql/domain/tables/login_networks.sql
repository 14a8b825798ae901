-- Where people log in from. Whoever guesses passwords elsewhere uses up the strangers' attempts, and not theirs.

CREATE TABLE IF NOT EXISTS login_networks (
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    network text NOT NULL CHECK (network <> '' AND length(network) <= 60),
    last_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, network)
);
CREATE INDEX IF NOT EXISTS login_networks_last_at_idx ON login_networks (last_at);
COMMENT ON TABLE login_networks IS 'Networks from which a user gave the right password, or set one with proof of the address';
COMMENT ON COLUMN login_networks.user_id IS 'The user';
COMMENT ON COLUMN login_networks.network IS 'As network_of() says: an IPv4 address, or the first half of an IPv6 address';
COMMENT ON COLUMN login_networks.last_at IS 'When it was the last time; after 90 days it no longer counts';
COMMENT ON INDEX login_networks_last_at_idx IS 'Rows that may go';
-- Written and asked by functions alone.
GRANT SELECT (last_at), DELETE ON login_networks TO segs_worker;
