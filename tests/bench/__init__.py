"""The bench: what Hotfleet costs, beside what it is compared with, in one run. See README.md."""
