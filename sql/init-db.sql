-- Master of the domain database: people, meters, gateways, tariffs, bills, alerts. Plain PostgreSQL.
-- Runs under psql -v ON_ERROR_STOP=1 -f and through segs-cloud schema apply, any number of times, all or nothing.
BEGIN;
\ir domain/version.sql
\ir schema_version.sql
\ir domain/extensions.sql
\ir roles.sql
\ir lockdown.sql
COMMIT;
