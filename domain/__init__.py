"""Pure rules and message types. Imports the standard library only."""
