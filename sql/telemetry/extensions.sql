-- TimescaleDB carries the hypertables, btree_gist the effective-dated registry's exclusion constraints.
CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;
