"""Secrets: where the bytes of certificates and keys come from, and who is told when they change."""
