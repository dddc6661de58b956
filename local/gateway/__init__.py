"""The sandbox gateway: a small real payment gateway for development and tests.

It stands for the outside world, so it shares no code with Holdfast's own rules and keeps its own database.
"""
