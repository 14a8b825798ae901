-- Polls that a line had no time for, as a kind of note.

ALTER TABLE gateway_notes
    DROP CONSTRAINT gateway_notes_kind_check,
    ADD CONSTRAINT gateway_notes_kind_check CHECK (kind IN ('thinned', 'overflowed', 'damaged', 'refused', 'reduced', 'silent',
                                                            'not_running', 'corrected', 'overrun'));
