-- Shares of tiers and of days do not end; thirty places are far from any unit of money, and a sum of shares is made whole
-- again by whole_of() before it is rounded.
CREATE OR REPLACE FUNCTION ratio(p_part numeric, p_whole numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_part::numeric(90, 30) / p_whole;
COMMENT ON FUNCTION ratio(numeric, numeric) IS 'Quotient to at least 30 decimal places';

CREATE OR REPLACE FUNCTION whole_of(p_sum numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.round(p_sum, 20);
COMMENT ON FUNCTION whole_of(numeric) IS 'A sum of quotients without what their last places lack, so that half a cent is half a cent';

CREATE OR REPLACE FUNCTION minor_digits(p_currency text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
    WHEN p_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN p_currency IN ('CLF', 'UYW') THEN 4
    ELSE 2 END;
COMMENT ON FUNCTION minor_digits(text) IS 'Decimal places of a currency''s minor unit, ISO 4217';
