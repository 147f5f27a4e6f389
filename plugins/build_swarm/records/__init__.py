"""What is kept of what goes on: who said what, figures over time, and how an operator asks for any of it in SQL."""
