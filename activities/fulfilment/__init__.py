"""What happens after a sale: mail, tickets, notifications, statistics. None of it can undo or delay the sale."""
