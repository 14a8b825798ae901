-- Polls that a line had no time for, as a kind of note.

ALTER TABLE gateway_notes
    DROP CONSTRAINT gateway_notes_kind_check,
    ADD CONSTRAINT gateway_notes_kind_check CHECK (kind IN ('thinned', 'overflowed', 'damaged', 'refused', 'reduced', 'silent',
                                                            'not_running', 'corrected', 'overrun'));

-- What is missing is counted by the rate of all of a meter's readings, and no longer gap by gap.
DROP FUNCTION IF EXISTS meter_completeness(timestamptz, timestamptz, boolean, integer);
DROP FUNCTION IF EXISTS gap_reasons(tstzmultirange, integer, integer, text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS gap_readings(tstzrange, integer);
