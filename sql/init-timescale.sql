-- Master of the telemetry database: hypertables, ledger, queue, quarantine, registry. Needs the TimescaleDB extension.
-- Runs under psql -v ON_ERROR_STOP=1 -f and through segs-cloud schema apply, any number of times, all or nothing.
BEGIN;
\ir telemetry/version.sql
\ir schema_version.sql
\ir telemetry/extensions.sql
\ir roles.sql
\ir telemetry/tables/registry.sql
\ir telemetry/tables/region_capacities.sql
\ir telemetry/tables/raw_readings.sql
\ir telemetry/tables/ingest.sql
\ir telemetry/tables/queues.sql
\ir telemetry/tables/gateways.sql
\ir telemetry/tables/registers.sql
\ir telemetry/tables/aggregates_1m.sql
\ir telemetry/tables/aggregates_15m.sql
\ir telemetry/tables/regional_15m.sql
\ir telemetry/tables/aggregate_mismatches.sql
\ir telemetry/tables/periodic_work.sql
\ir telemetry/tables/interval_versions.sql
\ir telemetry/tables/vee.sql
-- Functions, views and policies stand below this line, lockdown.sql stays last.
\ir telemetry/functions/is_community.sql
\ir telemetry/functions/require_readable_chunks.sql
\ir telemetry/functions/quality.sql
\ir telemetry/functions/register_allowance.sql
\ir telemetry/functions/retention_periods.sql
\ir telemetry/functions/marks.sql
\ir telemetry/functions/register_reads.sql
\ir telemetry/functions/summarise_minutes.sql
\ir telemetry/functions/summarise_quarters.sql
\ir telemetry/functions/book_energy.sql
\ir telemetry/functions/aggregate_readings.sql
\ir telemetry/functions/aggregate_quarters.sql
\ir telemetry/functions/aggregate_regions.sql
\ir telemetry/functions/local_time.sql
\ir telemetry/functions/effective_quarters.sql
\ir telemetry/functions/intervals.sql
\ir telemetry/functions/usual_load.sql
\ir telemetry/functions/estimate_gaps.sql
\ir telemetry/functions/mark_intervals.sql
\ir telemetry/functions/day_findings.sql
\ir telemetry/functions/validate_day.sql
\ir telemetry/functions/edit_intervals.sql
\ir telemetry/functions/exchange_reads.sql
\ir telemetry/views/cagg_1m.sql
\ir telemetry/functions/reconcile_minutes.sql
\ir telemetry/functions/claim_periodic_work.sql
\ir telemetry/functions/drop_expired_chunks.sql
\ir telemetry/functions/create_chunks_ahead.sql
\ir telemetry/functions/decompress_readings.sql
\ir telemetry/functions/completeness.sql
\ir telemetry/functions/leave_community.sql
\ir telemetry/policies/cagg_1m.sql
\ir telemetry/policies/retention.sql
\ir telemetry/policies/compression.sql
\ir lockdown.sql
COMMIT;
