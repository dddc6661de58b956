"""Every SQL statement, the tables, the migrations and the transactions. One function per state change."""
