-- Prices are for all who are logged in. A bill is its customer's, and of the operators of the meter's region. Who pays
-- neither settles a bill nor records a payment.

ALTER TABLE tariffs ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tariffs_services ON tariffs;
CREATE POLICY tariffs_services ON tariffs TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS tariffs_seen ON tariffs;
CREATE POLICY tariffs_seen ON tariffs FOR SELECT TO segs_api
    USING ((SELECT caller_role()) IS NOT NULL);
DROP POLICY IF EXISTS tariffs_made ON tariffs;
CREATE POLICY tariffs_made ON tariffs FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));
DROP POLICY IF EXISTS tariffs_changed ON tariffs;
CREATE POLICY tariffs_changed ON tariffs FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR region = ANY ((SELECT caller_regions())::text[]));

ALTER TABLE tariff_rules ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tariff_rules_services ON tariff_rules;
CREATE POLICY tariff_rules_services ON tariff_rules TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS tariff_rules_seen ON tariff_rules;
CREATE POLICY tariff_rules_seen ON tariff_rules FOR SELECT TO segs_api
    USING ((SELECT caller_role()) IS NOT NULL);
DROP POLICY IF EXISTS tariff_rules_made ON tariff_rules;
CREATE POLICY tariff_rules_made ON tariff_rules FOR INSERT TO segs_api
    WITH CHECK (EXISTS (SELECT FROM tariffs t WHERE t.tariff_id = tariff_rules.tariff_id
                   AND ((SELECT caller_role()) = 'ADMIN' OR t.region = ANY ((SELECT caller_regions())::text[]))));

ALTER TABLE tariff_holidays ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tariff_holidays_services ON tariff_holidays;
CREATE POLICY tariff_holidays_services ON tariff_holidays TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS tariff_holidays_seen ON tariff_holidays;
CREATE POLICY tariff_holidays_seen ON tariff_holidays FOR SELECT TO segs_api
    USING ((SELECT caller_role()) IS NOT NULL);

ALTER TABLE meter_tariffs ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meter_tariffs_services ON meter_tariffs;
CREATE POLICY meter_tariffs_services ON meter_tariffs TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS meter_tariffs_seen ON meter_tariffs;
CREATE POLICY meter_tariffs_seen ON meter_tariffs FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR meter_id = ANY ((SELECT caller_meters())::integer[]) AND caller_owned(meter_id, valid)
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = meter_tariffs.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));

ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoices_services ON invoices;
CREATE POLICY invoices_services ON invoices TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS invoices_seen ON invoices;
CREATE POLICY invoices_seen ON invoices FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN' OR user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = invoices.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS invoices_changed ON invoices;
CREATE POLICY invoices_changed ON invoices FOR UPDATE TO segs_api
    USING (user_id IS DISTINCT FROM (SELECT caller_id())
           AND ((SELECT caller_role()) = 'ADMIN'
                OR EXISTS (SELECT FROM meter_locations l
                            WHERE l.meter_id = invoices.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                              AND l.valid @> statement_timestamp())));

ALTER TABLE invoice_line_items ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoice_line_items_services ON invoice_line_items;
CREATE POLICY invoice_line_items_services ON invoice_line_items TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS invoice_line_items_seen ON invoice_line_items;
CREATE POLICY invoice_line_items_seen ON invoice_line_items FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM invoices i WHERE i.invoice_id = invoice_line_items.invoice_id));

ALTER TABLE payment_transactions ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS payment_transactions_services ON payment_transactions;
CREATE POLICY payment_transactions_services ON payment_transactions TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS payment_transactions_seen ON payment_transactions;
CREATE POLICY payment_transactions_seen ON payment_transactions FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM invoices i WHERE i.invoice_id = payment_transactions.invoice_id));
DROP POLICY IF EXISTS payment_transactions_made ON payment_transactions;
CREATE POLICY payment_transactions_made ON payment_transactions FOR INSERT TO segs_api
    WITH CHECK ((SELECT caller_role()) IN ('ADMIN', 'OPERATOR')
           AND EXISTS (SELECT FROM invoices i WHERE i.invoice_id = payment_transactions.invoice_id
                          AND i.user_id IS DISTINCT FROM (SELECT caller_id())));
DROP POLICY IF EXISTS payment_transactions_changed ON payment_transactions;
CREATE POLICY payment_transactions_changed ON payment_transactions FOR UPDATE TO segs_api
    USING ((SELECT caller_role()) IN ('ADMIN', 'OPERATOR')
           AND EXISTS (SELECT FROM invoices i WHERE i.invoice_id = payment_transactions.invoice_id
                          AND i.user_id IS DISTINCT FROM (SELECT caller_id())));
