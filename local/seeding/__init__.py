"""People, meters and a month of history for a data folder that is to be shown to somebody."""
