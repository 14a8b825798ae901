-- Blocks of 4,096 meters instead of 1,024; editing says what may be beyond the connection.

UPDATE dirty_meters SET block = block >> 2;
DROP FUNCTION IF EXISTS interval_edit(integer, timestamptz[], bigint[], bigint[], text, text, timestamptz);
DROP FUNCTION IF EXISTS interval_estimate(integer, timestamptz, timestamptz, bigint, bigint, text, text, timestamptz);
