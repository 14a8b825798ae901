-- Bills are made for many meters at once: what made them one by one goes.

DROP FUNCTION IF EXISTS bill_rate(integer, integer, date, date, jsonb);
DROP FUNCTION IF EXISTS bill_lines();
DROP FUNCTION IF EXISTS bill_draft(integer, date, date, jsonb, jsonb, timestamptz);
DROP FUNCTION IF EXISTS bill_correct(bigint, jsonb, jsonb, timestamptz);
DROP FUNCTION IF EXISTS bill_add_corrections(bigint);
DROP FUNCTION IF EXISTS bill_number(text);
DROP FUNCTION IF EXISTS billing_take(date, integer[], timestamptz, timestamptz);
DROP FUNCTION IF EXISTS billing_report(date, integer, text, jsonb);
DROP FUNCTION IF EXISTS billing_plan(integer, date, date);
DROP FUNCTION IF EXISTS billing_prices(integer, integer, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS billing_parts(integer, date, date);
DROP FUNCTION IF EXISTS billing_days(integer, date, date);
DROP FUNCTION IF EXISTS billing_bound(integer, date);
