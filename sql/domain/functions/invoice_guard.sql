CREATE OR REPLACE FUNCTION guard_invoice() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    -- What may still happen to an invoice that left the draft: it is paid, disputed, credited. What is generated is empty
    -- until the row is stored; what it is the sum of is compared.
    v_open CONSTANT text[] := ARRAY['status', 'paid_amount', 'credited_amount', 'open_amount', 'paid_at', 'overdue_at',
                                    'cancelled_at', 'updated_at', 'total_amount'];
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'draft' THEN
            RAISE EXCEPTION 'a bill begins as a draft, and not as %', NEW.status
                USING ERRCODE = 'SG031', HINT = 'Make a draft, and make that final.';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.status = 'draft' THEN
        IF TG_OP = 'UPDATE' AND NEW.status NOT IN ('draft', 'final', 'paid') THEN
            RAISE EXCEPTION 'a draft becomes final, and not %', NEW.status USING ERRCODE = 'SG031', HINT = 'Make it final first.';
        END IF;
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoice % is %: only drafts are deleted', OLD.invoice_number, OLD.status
            USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note.';
    END IF;
    IF NEW.status = 'draft' OR OLD.status = 'cancelled' OR to_jsonb(NEW) - v_open <> to_jsonb(OLD) - v_open THEN
        RAISE EXCEPTION 'invoice % is %: it cannot change', OLD.invoice_number, OLD.status
            USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note and make another.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION guard_invoice() IS 'Raises SG031 when an invoice would begin as something else than a draft, and when one that is no draft would be deleted or change in anything but its settlement';

CREATE OR REPLACE FUNCTION refuse_bill_removal() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is kept: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'SG031', HINT = 'Delete drafts one by one.';
END
$$;
COMMENT ON FUNCTION refuse_bill_removal() IS 'Raises SG031: bills are not emptied out';

CREATE OR REPLACE FUNCTION guard_invoice_line() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice record;
    v_id bigint;
BEGIN
    FOREACH v_id IN ARRAY CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.invoice_id] WHEN 'DELETE' THEN ARRAY[OLD.invoice_id]
                                     ELSE ARRAY[OLD.invoice_id, NEW.invoice_id] END
    LOOP
        -- The lock makes a finalisation at the same instant wait, or this line see it.
        SELECT invoice_number, status INTO v_invoice FROM invoices WHERE invoice_id = v_id FOR SHARE;
        IF FOUND AND v_invoice.status <> 'draft' THEN
            RAISE EXCEPTION 'invoice % is %: its lines cannot change', v_invoice.invoice_number, v_invoice.status
                USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note and make another.';
        END IF;
    END LOOP;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION guard_invoice_line() IS 'Raises SG031 when a line of an invoice that is no draft would be added, changed or deleted';

-- At the end of the transaction, when all of it is there.
CREATE OR REPLACE FUNCTION check_invoice_lines() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice record;
    v_sum record;
BEGIN
    SELECT i.* INTO v_invoice FROM invoices i WHERE i.invoice_id = NEW.invoice_id;
    IF NOT FOUND OR v_invoice.status = 'draft' THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(l.amount) FILTER (WHERE l.component <> 'tax'), 0) AS net,
           coalesce(sum(l.amount) FILTER (WHERE l.component = 'tax'), 0) AS tax INTO v_sum
      FROM invoice_line_items l WHERE l.invoice_id = v_invoice.invoice_id;
    IF (v_sum.net, v_sum.tax) IS DISTINCT FROM (v_invoice.net_amount, v_invoice.tax_amount) THEN
        RAISE EXCEPTION 'invoice % is over % and % of tax, and its lines add up to % and %', v_invoice.invoice_number,
            v_invoice.net_amount, v_invoice.tax_amount, v_sum.net, v_sum.tax USING ERRCODE = 'SG034';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION check_invoice_lines() IS 'Raises SG034 when the lines of a bill that became final do not add up to it';
