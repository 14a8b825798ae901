"""The schema tool: applies the two master schemas, checks live catalogs against them, writes their reference."""
