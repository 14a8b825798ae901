-- What people do with bills by way of the API: customers with their own, operators and admins with those of others.

CREATE OR REPLACE FUNCTION bill_look(p_what text, p_invoice_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices;
BEGIN
    SELECT i.* INTO v_invoice FROM invoices i WHERE i.invoice_id = p_invoice_id;
    PERFORM audit_access(p_what, array_remove(ARRAY[v_invoice.meter_id], NULL), array_remove(ARRAY[v_invoice.user_id], NULL),
                         jsonb_build_object('invoice', p_invoice_id), v_invoice.span);
END
$$;
COMMENT ON FUNCTION bill_look(text, bigint) IS 'audit_access() of a bill: of its meter, of whose it is, and of its period. Raises SG054 for nobody';

CREATE OR REPLACE FUNCTION own_bill(p_invoice_id bigint) RETURNS invoices
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices;
BEGIN
    SELECT i.* INTO v_invoice FROM invoices i
     WHERE i.invoice_id = p_invoice_id AND i.user_id = caller_id() AND caller_role() IS NOT NULL AND i.status <> 'draft';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no invoice %', p_invoice_id USING ERRCODE = 'SG100';
    END IF;
    RETURN v_invoice;
END
$$;
COMMENT ON FUNCTION own_bill(bigint) IS 'The bill, if it is the caller''s own and no draft; raises SG100';

CREATE OR REPLACE FUNCTION kept_bill(p_invoice_id bigint) RETURNS invoices
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices;
BEGIN
    SELECT i.* INTO v_invoice FROM invoices i WHERE i.invoice_id = p_invoice_id;
    IF v_invoice.user_id = caller_id() AND caller_role() IS NOT NULL THEN
        RAISE EXCEPTION 'invoice % is your own', coalesce(v_invoice.invoice_number, p_invoice_id::text) USING ERRCODE = 'SG102', HINT = 'Ask another operator.';
    END IF;
    IF v_invoice.invoice_id IS NULL OR (caller_role() = 'ADMIN' OR EXISTS (
           SELECT FROM meter_locations l
            WHERE l.meter_id = v_invoice.meter_id AND l.region = ANY (caller_regions()) AND l.valid @> statement_timestamp())) IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no invoice %', p_invoice_id USING ERRCODE = 'SG100';
    END IF;
    RETURN v_invoice;
END
$$;
COMMENT ON FUNCTION kept_bill(bigint) IS 'The bill, if the caller looks after it: an operator of the region where its meter is now, or an admin. Raises SG100 where they see none, SG102 where it is their own';

CREATE OR REPLACE FUNCTION caller_pays(p_invoice_id bigint, p_provider text, p_reference text, p_amount numeric, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice invoices := own_bill(p_invoice_id);
BEGIN
    v_invoice := bill_lock(p_invoice_id);
    IF p_provider = 'manual' THEN
        RAISE EXCEPTION 'nobody pays by the hand of an operator' USING ERRCODE = 'SG104';
    END IF;
    IF v_invoice.kind <> 'invoice' OR v_invoice.open_amount <= 0 THEN
        RAISE EXCEPTION 'of % nothing is open', v_invoice.invoice_number USING ERRCODE = 'SG101';
    END IF;
    IF p_amount > v_invoice.open_amount THEN
        RAISE EXCEPTION 'of invoice % there are % % open, and not %', v_invoice.invoice_number, v_invoice.open_amount, v_invoice.currency, p_amount
            USING ERRCODE = 'SG104', HINT = 'Give an amount up to that, or none for all of it.';
    END IF;
    -- What becomes of it, the provider says.
    RETURN (SELECT r.payment_id FROM payment_record(p_invoice_id, p_provider, p_reference, coalesce(p_amount, v_invoice.open_amount), v_invoice.currency,
                                                    'pending', NULL, NULL, p_now, p_now) AS r);
END
$$;
COMMENT ON FUNCTION caller_pays(bigint, text, text, numeric, timestamptz) IS 'A customer begins to pay a bill of theirs by a provider: all that is open (NULL) or an amount of it. The payment, which is pending until the provider tells of it. Raises SG100, SG101 nothing is open, SG104, SG105';

CREATE OR REPLACE FUNCTION caller_disputes(p_invoice_id bigint, p_reason text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM own_bill(p_invoice_id);
    RETURN bill_dispute(p_invoice_id, p_reason, p_now);
END
$$;
COMMENT ON FUNCTION caller_disputes(bigint, text, timestamptz) IS 'bill_dispute() by the customer whose bill it is; raises as that does, SG100';

CREATE OR REPLACE FUNCTION caller_finalises(p_invoice_id bigint, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM kept_bill(p_invoice_id);
    RETURN bill_finalise(p_invoice_id, p_now);
END
$$;
COMMENT ON FUNCTION caller_finalises(bigint, timestamptz) IS 'bill_finalise() by who looks after the bill; raises as that does, and as kept_bill does';

CREATE OR REPLACE FUNCTION caller_records_payment(
    p_invoice_id bigint, p_reference text, p_amount numeric, p_method text, p_occurred_at timestamptz, p_now timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_invoice CONSTANT invoices := kept_bill(p_invoice_id);
BEGIN
    RETURN (SELECT r.payment_id FROM payment_record(p_invoice_id, 'manual', p_reference, p_amount, v_invoice.currency, 'succeeded', p_method, caller_id(),
                                                    coalesce(p_occurred_at, p_now), p_now) AS r);
END
$$;
COMMENT ON FUNCTION caller_records_payment(bigint, text, numeric, text, timestamptz, timestamptz) IS 'payment_record() of money that an operator has seen: cash or bank; a reference counts once. Raises as that does, and as kept_bill does';

CREATE OR REPLACE FUNCTION caller_takes_payment_back(p_invoice_id bigint, p_reference text, p_occurred_at timestamptz, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM kept_bill(p_invoice_id);
    RETURN payment_take_back(p_invoice_id, p_reference, caller_id(), coalesce(p_occurred_at, p_now), p_now);
END
$$;
COMMENT ON FUNCTION caller_takes_payment_back(bigint, text, timestamptz, timestamptz) IS 'payment_take_back() by who looks after the bill; raises as that does, and as kept_bill does';

CREATE OR REPLACE FUNCTION caller_refunds(p_invoice_id bigint, p_reference text, p_amount numeric, p_method text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM kept_bill(p_invoice_id);
    RETURN credit_refund(p_invoice_id, 'manual', p_reference, p_amount, p_method, caller_id(), p_now);
END
$$;
COMMENT ON FUNCTION caller_refunds(bigint, text, numeric, text, timestamptz) IS 'credit_refund() by who looks after the bill; raises as that does, and as kept_bill does';

CREATE OR REPLACE FUNCTION caller_credits(p_invoice_id bigint, p_amount numeric, p_reason text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM kept_bill(p_invoice_id);
    RETURN bill_credit(p_invoice_id, p_amount, p_reason, p_now);
END
$$;
COMMENT ON FUNCTION caller_credits(bigint, numeric, text, timestamptz) IS 'bill_credit() by who looks after the bill; raises as that does, and as kept_bill does';

CREATE OR REPLACE FUNCTION caller_resolves(p_invoice_id bigint, p_outcome text, p_amount numeric, p_resolution text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM kept_bill(p_invoice_id);
    RETURN bill_dispute_resolve(p_invoice_id, p_outcome, p_amount, p_resolution, p_now);
END
$$;
COMMENT ON FUNCTION caller_resolves(bigint, text, numeric, text, timestamptz) IS 'bill_dispute_resolve() by who looks after the bill; raises as that does, and as kept_bill does';
GRANT EXECUTE ON FUNCTION bill_look(text, bigint), caller_pays(bigint, text, text, numeric, timestamptz), caller_disputes(bigint, text, timestamptz),
    caller_finalises(bigint, timestamptz), caller_records_payment(bigint, text, numeric, text, timestamptz, timestamptz),
    caller_takes_payment_back(bigint, text, timestamptz, timestamptz),
    caller_refunds(bigint, text, numeric, text, timestamptz), caller_credits(bigint, numeric, text, timestamptz),
    caller_resolves(bigint, text, numeric, text, timestamptz) TO segs_api;
-- The API has verified the provider's signature; a transaction of nobody.
GRANT EXECUTE ON FUNCTION payment_event(text, text, bytea, text, text, numeric, text, text, timestamptz, timestamptz) TO segs_api;

CREATE OR REPLACE FUNCTION money_text(p_amount numeric, p_currency text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN p_amount = round(p_amount, minor_digits(p_currency)) THEN round(p_amount, minor_digits(p_currency)) ELSE trim_scale(p_amount) END::text
$$;
COMMENT ON FUNCTION money_text(numeric, text) IS 'An amount as a decimal text, with the decimal places of its currency, more only where it has more';
GRANT EXECUTE ON FUNCTION money_text(numeric, text) TO segs_api;
