"""The GPT family: one implementation, from GPT-2's style to today's."""
