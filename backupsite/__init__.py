"""The Django site of Hotfleet: the console that keeps devices and policies and shows every run."""

__version__ = "0.1.0"
