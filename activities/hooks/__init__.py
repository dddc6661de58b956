"""Tenants' outbound webhooks: signed, sent to public addresses only, tried for days."""
