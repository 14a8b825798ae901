"""Register maps: what a profile may say, how its registers are read, and what they mean."""
