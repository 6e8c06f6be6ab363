"""Devices from files that people have already: an Ansible inventory, an ssh_config, a CSV list. Pure.

A *row* is one device as its file names it, not checked yet. Nothing that a file points at is followed: what
is left out of a file is a *note* with its line.
"""
