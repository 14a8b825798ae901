"""Store and forward: every reading is on disk before anybody is told that it is kept, and until a receipt covers it."""
