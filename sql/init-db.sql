-- Master of the domain database: people, meters, gateways, tariffs, bills, alerts. Plain PostgreSQL.
-- Runs under psql -v ON_ERROR_STOP=1 -f and through segs-cloud schema apply, any number of times, all or nothing.
BEGIN;
\ir domain/version.sql
\ir schema_version.sql
\ir domain/extensions.sql
\ir roles.sql
-- What checks and triggers of the tables call.
\ir domain/functions/timezone.sql
\ir domain/functions/updated_at.sql
\ir domain/functions/audit.sql
\ir domain/functions/audit_chain.sql
\ir domain/functions/preferences.sql
\ir domain/functions/invoice_guard.sql
\ir domain/tables/audit_logs.sql
\ir domain/tables/regions.sql
\ir domain/tables/region_capacities.sql
\ir domain/tables/users.sql
\ir domain/tables/user_preferences.sql
\ir domain/tables/otp_verifications.sql
\ir domain/tables/sessions.sql
\ir domain/tables/token_blacklist.sql
\ir domain/tables/password_proofs.sql
\ir domain/tables/operator_regions.sql
\ir domain/tables/outbox.sql
\ir domain/tables/rate_buckets.sql
\ir domain/tables/gateways.sql
\ir domain/tables/meters.sql
\ir domain/tables/meter_owners.sql
\ir domain/tables/meter_claims.sql
\ir domain/tables/meter_locations.sql
\ir domain/tables/meter_exchanges.sql
\ir domain/tables/devices.sql
\ir domain/tables/registry_state.sql
\ir domain/tables/tariffs.sql
\ir domain/tables/alerts.sql
\ir domain/tables/invoices.sql
\ir domain/tables/payment_transactions.sql
\ir domain/functions/gateway.sql
\ir domain/functions/region.sql
\ir domain/functions/device.sql
\ir domain/functions/meter_move.sql
\ir domain/functions/meter_exchange.sql
\ir domain/functions/meter_registers.sql
\ir domain/functions/meter_owner.sql
\ir domain/functions/caller.sql
\ir domain/functions/audit_access.sql
\ir domain/functions/rate.sql
\ir domain/functions/keeper.sql
\ir domain/functions/meter_claim.sql
\ir domain/functions/session.sql
\ir domain/functions/readable_meters.sql
\ir domain/functions/otp.sql
\ir domain/functions/registration.sql
\ir domain/functions/password.sql
\ir domain/functions/login.sql
\ir domain/functions/user.sql
\ir domain/views/registry.sql
-- Who sees what: after the functions that say who asks. Tables of which nothing is said here, the API does not reach.
\ir domain/policies/people.sql
\ir domain/policies/meters.sql
\ir domain/policies/gateways.sql
\ir domain/policies/regions.sql
\ir domain/policies/bills.sql
\ir domain/policies/alerts.sql
\ir domain/policies/watched.sql
\ir lockdown.sql
COMMIT;
