-- Which master this is. Raise the number together with a new migrations/domain/NNNN-name.sql, never without one.
SET LOCAL segs.master = 'domain';
SET LOCAL segs.master_version = '21';
