"""Bills: what meters took in a month, by the prices that held, as invoices; and what becomes of those."""
