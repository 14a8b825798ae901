-- From template0: the image's template1 has TimescaleDB in it, and the domain database is plain PostgreSQL.
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8''', v_name)
  FROM unnest(ARRAY['segs_domain', 'segs_telemetry']) AS v_name
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = v_name)
\gexec
SELECT format('CREATE ROLE %I LOGIN', v_name)
  FROM unnest(ARRAY['segs_ingest', 'segs_api', 'segs_worker']) AS v_name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_name)
\gexec
-- From the environment, not from the command line, which every process may read; and not into the server's log.
\getenv ingest_password SEGS_INGEST_PASSWORD
\getenv api_password SEGS_API_PASSWORD
\getenv worker_password SEGS_WORKER_PASSWORD
SET log_min_error_statement = panic;
SET log_statement = 'none';
ALTER ROLE segs_ingest PASSWORD :'ingest_password';
ALTER ROLE segs_api PASSWORD :'api_password';
ALTER ROLE segs_worker PASSWORD :'worker_password';
