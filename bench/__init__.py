"""What Holdfast costs, measured on the machine at hand. `python -m bench`; docs/performance.md says what it means."""
