"""Bulk jobs: whole folders of pictures."""
