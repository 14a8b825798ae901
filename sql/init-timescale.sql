-- Master of the telemetry database: hypertables, ledger, queue, quarantine, registry. Needs the TimescaleDB extension.
-- Runs under psql -v ON_ERROR_STOP=1 -f and through segs-cloud schema apply, any number of times, all or nothing.
BEGIN;
\ir telemetry/version.sql
\ir schema_version.sql
\ir telemetry/extensions.sql
\ir roles.sql
\ir telemetry/tables/registry.sql
\ir telemetry/tables/raw_readings.sql
\ir telemetry/tables/ingest.sql
\ir telemetry/tables/aggregates_1m.sql
\ir telemetry/tables/aggregates_15m.sql
\ir telemetry/tables/regional_15m.sql
\ir telemetry/tables/aggregate_mismatches.sql
-- Functions, views and policies stand below this line, lockdown.sql stays last.
\ir lockdown.sql
COMMIT;
