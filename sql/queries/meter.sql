-- Statements of `segs-cloud meter`. Domain database.

-- name: move
-- A meter is in another region from an instant on.
SELECT meter_move(%(code)s, %(region)s, %(timezone)s, %(from)s, %(now)s);

-- name: exchange
-- Another meter measures from then on.
SELECT meter_exchange(%(code)s, %(at)s, %(model)s, %(serial)s, %(final_import_wh)s, %(final_export_wh)s, %(first_import_wh)s,
    %(first_export_wh)s, %(now)s);

-- name: registers
-- What is known of the meter's registers.
SELECT meter_registers(%(code)s, %(modulus_wh)s, %(resets)s, %(now)s);
