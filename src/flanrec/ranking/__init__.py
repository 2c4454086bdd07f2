"""From scored candidates to the list that a user sees: fusion of scores, then re-ranking and business rules."""
