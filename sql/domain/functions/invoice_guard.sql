CREATE OR REPLACE FUNCTION guard_invoice() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    -- What may still happen to an invoice that left the draft: it is paid, disputed, cancelled. The total is generated,
    -- and empty until the row is stored; what it is the sum of is compared.
    v_open CONSTANT text[] := ARRAY['status', 'paid_at', 'cancelled_at', 'updated_at', 'total_amount'];
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoice % is %: only drafts are deleted', OLD.invoice_number, OLD.status
            USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note.';
    END IF;
    IF NEW.status = 'draft' OR to_jsonb(NEW) - v_open <> to_jsonb(OLD) - v_open THEN
        RAISE EXCEPTION 'invoice % is %: it cannot change', OLD.invoice_number, OLD.status
            USING ERRCODE = 'SG031', HINT = 'Cancel it by a credit note and make another.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION guard_invoice() IS 'Raises SG031 when an invoice that is no draft would be deleted or change in anything but its settlement';

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
