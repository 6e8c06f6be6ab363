"""What a person does on the pages of a running console, a noun a file. `tests/live/desk.py` takes orders."""
