-- Prices are for all who are logged in. A bill is its customer's, and of the operators of the meter's region. Nobody
-- settles a bill or records a payment but by functions; who pays does neither.

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

ALTER TABLE meter_generators ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS meter_generators_services ON meter_generators;
CREATE POLICY meter_generators_services ON meter_generators TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoices_services ON invoices;
CREATE POLICY invoices_services ON invoices TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS invoices_seen ON invoices;
CREATE POLICY invoices_seen ON invoices FOR SELECT TO segs_api
    -- A draft is nobody's bill yet.
    USING ((SELECT caller_role()) = 'ADMIN' OR user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL AND status <> 'draft'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = invoices.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));
DROP POLICY IF EXISTS invoices_changed ON invoices;

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
DROP POLICY IF EXISTS payment_transactions_changed ON payment_transactions;

ALTER TABLE invoice_days ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoice_days_services ON invoice_days;
CREATE POLICY invoice_days_services ON invoice_days TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS invoice_days_seen ON invoice_days;
CREATE POLICY invoice_days_seen ON invoice_days FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM invoices i WHERE i.invoice_id = invoice_days.invoice_id));

ALTER TABLE invoice_banks ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoice_banks_services ON invoice_banks;
CREATE POLICY invoice_banks_services ON invoice_banks TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS invoice_banks_seen ON invoice_banks;
CREATE POLICY invoice_banks_seen ON invoice_banks FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM invoices i WHERE i.invoice_id = invoice_banks.invoice_id));

ALTER TABLE invoice_disputes ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoice_disputes_services ON invoice_disputes;
CREATE POLICY invoice_disputes_services ON invoice_disputes TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS invoice_disputes_seen ON invoice_disputes;
CREATE POLICY invoice_disputes_seen ON invoice_disputes FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM invoices i WHERE i.invoice_id = invoice_disputes.invoice_id));

ALTER TABLE ledger_postings ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS ledger_postings_services ON ledger_postings;
CREATE POLICY ledger_postings_services ON ledger_postings TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS ledger_postings_seen ON ledger_postings;
CREATE POLICY ledger_postings_seen ON ledger_postings FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM invoices i WHERE i.invoice_id = ledger_postings.invoice_id));

ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS ledger_entries_services ON ledger_entries;
CREATE POLICY ledger_entries_services ON ledger_entries TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS ledger_entries_seen ON ledger_entries;
CREATE POLICY ledger_entries_seen ON ledger_entries FOR SELECT TO segs_api
    USING (EXISTS (SELECT FROM ledger_postings p WHERE p.posting_id = ledger_entries.posting_id));

ALTER TABLE credit_balances ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS credit_balances_services ON credit_balances;
CREATE POLICY credit_balances_services ON credit_balances TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS credit_balances_seen ON credit_balances;
CREATE POLICY credit_balances_seen ON credit_balances FOR SELECT TO segs_api
    USING (user_id = (SELECT caller_id()) AND (SELECT caller_role()) IS NOT NULL OR (SELECT caller_role()) = 'ADMIN');

ALTER TABLE payment_events ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS payment_events_services ON payment_events;
CREATE POLICY payment_events_services ON payment_events TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE billing_settings ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS billing_settings_services ON billing_settings;
CREATE POLICY billing_settings_services ON billing_settings TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE billing_work ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS billing_work_services ON billing_work;
CREATE POLICY billing_work_services ON billing_work TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS billing_work_seen ON billing_work;
CREATE POLICY billing_work_seen ON billing_work FOR SELECT TO segs_api
    USING ((SELECT caller_role()) = 'ADMIN'
           OR EXISTS (SELECT FROM meter_locations l
                       WHERE l.meter_id = billing_work.meter_id AND l.region = ANY ((SELECT caller_regions())::text[])
                         AND l.valid @> statement_timestamp()));

ALTER TABLE billing_addresses ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS billing_addresses_services ON billing_addresses;
CREATE POLICY billing_addresses_services ON billing_addresses TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE invoice_series ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoice_series_services ON invoice_series;
CREATE POLICY invoice_series_services ON invoice_series TO segs_worker, segs_readonly USING (true) WITH CHECK (true);

ALTER TABLE invoice_corrections ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS invoice_corrections_services ON invoice_corrections;
CREATE POLICY invoice_corrections_services ON invoice_corrections TO segs_worker, segs_readonly USING (true) WITH CHECK (true);
