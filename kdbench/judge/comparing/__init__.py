"""How two numbers are compared: which belong together, what lies between them, and what that means."""
