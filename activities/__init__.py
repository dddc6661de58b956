"""One transaction or one outside call each. Every activity may run twice with one effect."""
