-- Which master this is. Raise the number together with a new migrations/telemetry/NNNN-name.sql, never without one.
SET LOCAL segs.master = 'telemetry';
SET LOCAL segs.master_version = '10';
