CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'SG033', HINT = 'Post what takes it back.';
END
$$;
COMMENT ON FUNCTION refuse_ledger_change() IS 'Raises SG033: nobody, the owner included, changes or removes what was posted';

CREATE OR REPLACE FUNCTION check_posting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_sum numeric;
    v_entries bigint;
BEGIN
    SELECT coalesce(sum(e.amount), 0), count(*) INTO v_sum, v_entries FROM ledger_entries e WHERE e.posting_id = NEW.posting_id;
    IF v_sum <> 0 THEN
        RAISE EXCEPTION 'the entries of posting % add up to %, and not to 0', NEW.posting_id, v_sum USING ERRCODE = 'SG034';
    END IF;
    IF TG_TABLE_NAME = 'ledger_entries' THEN
        PERFORM require_invoice_ledger(p.invoice_id), require_credit_balance(p.user_id, p.currency)
           FROM ledger_postings p WHERE p.posting_id = NEW.posting_id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION check_posting() IS 'Raises SG034 when the entries of a posting do not add up to 0, or bill and balance do not say what the ledger does';

CREATE OR REPLACE FUNCTION require_invoice_ledger(p_invoice_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice record;
    v_sum record;
    v_credited numeric;
BEGIN
    SELECT i.* INTO v_invoice FROM invoices i WHERE i.invoice_id = p_invoice_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(e.amount) FILTER (WHERE p.kind = 'invoice'), 0) AS invoiced,
           coalesce(sum(-e.amount) FILTER (WHERE p.kind = 'credit_note'), 0) AS credited,
           coalesce(sum(-e.amount) FILTER (WHERE p.kind NOT IN ('invoice', 'credit_note')), 0) AS paid, count(*) AS entries INTO v_sum
      FROM ledger_postings p JOIN ledger_entries e USING (posting_id)
     WHERE p.invoice_id = p_invoice_id AND e.account = 'receivable';
    SELECT coalesce(sum(-c.total_amount), 0) INTO v_credited
      FROM invoices c WHERE c.credits_invoice_id = p_invoice_id AND c.status <> 'draft';
    IF (v_sum.invoiced, v_sum.paid, v_sum.credited, v_credited) IS DISTINCT FROM
       (CASE WHEN v_invoice.kind = 'credit_note' OR v_invoice.status = 'draft' THEN (0::numeric, 0::numeric, 0::numeric, 0::numeric)
            ELSE (v_invoice.total_amount, v_invoice.paid_amount, v_invoice.credited_amount, v_invoice.credited_amount) END) THEN
        RAISE EXCEPTION 'invoice % says % invoiced, % paid, % credited, and the ledger %, %, %; its credit notes %',
            coalesce(v_invoice.invoice_number, v_invoice.invoice_id::text), v_invoice.total_amount, v_invoice.paid_amount, v_invoice.credited_amount,
            v_sum.invoiced, v_sum.paid, v_sum.credited, v_credited
            USING ERRCODE = 'SG034', HINT = 'Bills are settled by functions that post what they do.';
    END IF;
    IF (v_invoice.status = 'disputed') <> EXISTS (SELECT FROM invoice_disputes d WHERE d.invoice_id = p_invoice_id AND d.outcome IS NULL) THEN
        RAISE EXCEPTION 'invoice % is %, and its disputes say otherwise', v_invoice.invoice_number, v_invoice.status USING ERRCODE = 'SG034';
    END IF;
END
$$;
COMMENT ON FUNCTION require_invoice_ledger(bigint) IS 'Raises SG034 unless what was invoiced is paid, open or credited, as ledger, credit notes and disputes have it';

CREATE OR REPLACE FUNCTION check_invoice_ledger() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_invoice_ledger(NEW.invoice_id);
    IF NEW.credits_invoice_id IS NOT NULL THEN
        PERFORM require_invoice_ledger(NEW.credits_invoice_id);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION check_invoice_ledger() IS 'Raises SG034 when a transaction ends with a bill that the ledger contradicts';

CREATE OR REPLACE FUNCTION require_credit_balance(p_user_id integer, p_currency text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_posted numeric;
    v_said numeric;
BEGIN
    SELECT coalesce(sum(-e.amount), 0) INTO v_posted
      FROM ledger_postings p JOIN ledger_entries e USING (posting_id)
     WHERE p.user_id = p_user_id AND p.currency = p_currency AND e.account = 'balance';
    SELECT coalesce(sum(b.amount), 0) INTO v_said FROM credit_balances b WHERE b.user_id = p_user_id AND b.currency = p_currency;
    IF v_posted <> v_said THEN
        RAISE EXCEPTION 'user % has % % to their credit, and by the ledger %', p_user_id, v_said, p_currency, v_posted USING ERRCODE = 'SG034';
    END IF;
END
$$;
COMMENT ON FUNCTION require_credit_balance(integer, text) IS 'Raises SG034 unless a customer''s credit is what the ledger has';

CREATE OR REPLACE FUNCTION check_credit_balance() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM require_credit_balance(OLD.user_id, OLD.currency);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM require_credit_balance(NEW.user_id, NEW.currency);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION check_credit_balance() IS 'Raises SG034 when a transaction ends with a credit that the ledger contradicts';

CREATE OR REPLACE FUNCTION guard_invoice_series() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR TG_OP = 'INSERT' AND NEW.last_number <> 0
       OR TG_OP = 'UPDATE' AND (NEW.kind <> OLD.kind OR NEW.last_number NOT IN (OLD.last_number, OLD.last_number + 1)
                                OR NEW.prefix <> OLD.prefix AND OLD.last_number > 0) THEN
        RAISE EXCEPTION 'series %: numbers are given one after another', OLD.kind USING ERRCODE = 'SG033';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION guard_invoice_series() IS 'Raises SG033 when a series would be set back or skip a number, or change its prefix after the first';

CREATE OR REPLACE FUNCTION check_invoice_series() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.last_number > 0 AND NOT EXISTS (SELECT FROM invoices i WHERE i.kind = NEW.kind AND i.serial_number = NEW.last_number) THEN
        RAISE EXCEPTION 'number % of series % was taken, and no bill has it', NEW.last_number, NEW.kind USING ERRCODE = 'SG034';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION check_invoice_series() IS 'Raises SG034 when a transaction ends that took a number and gave it to no bill';

CREATE OR REPLACE FUNCTION guard_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- What may still happen to it: a pending one succeeds or fails, one that failed succeeds after all, and one that succeeded
    -- has failed once it is posted that the money was taken back. That is its end.
    v_open CONSTANT text[] := ARRAY['status', 'settled_at', 'updated_at'];
    v_invoice record;
BEGIN
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND (to_jsonb(NEW) - v_open <> to_jsonb(OLD) - v_open
                                                 OR OLD.status <> 'pending' AND NEW.status <> OLD.status
                                                    AND (NEW.status = 'pending'
                                                         OR (NEW.status = 'failed') <> EXISTS (SELECT FROM ledger_postings p
                                                             WHERE p.payment_id = OLD.payment_id AND p.kind = 'reversal'))) THEN
        RAISE EXCEPTION 'payment % is %: it cannot change', OLD.provider_reference, OLD.status
            USING ERRCODE = 'SG033', HINT = 'Refund it, or record another.';
    END IF;
    SELECT i.* INTO v_invoice FROM invoices i WHERE i.invoice_id = NEW.invoice_id;
    IF v_invoice.kind <> 'invoice' OR v_invoice.status = 'draft' THEN
        RAISE EXCEPTION '% is nothing to pay', coalesce(v_invoice.invoice_number, 'a draft') USING ERRCODE = 'SG101';
    END IF;
    IF NEW.currency <> v_invoice.currency THEN
        RAISE EXCEPTION 'invoice % is in %, and not in %', v_invoice.invoice_number, v_invoice.currency, NEW.currency USING ERRCODE = 'SG104';
    END IF;
    -- Whatever their role is: who owes money does not say that it came.
    IF NEW.provider = 'manual' AND (NEW.recorded_by = v_invoice.user_id OR caller_id() = v_invoice.user_id) THEN
        RAISE EXCEPTION 'invoice % is your own', v_invoice.invoice_number USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION guard_payment() IS 'Raises SG033 when a payment would change that is settled, SG101 for what is nothing to pay, SG102 for an own bill, SG104 for another currency';
