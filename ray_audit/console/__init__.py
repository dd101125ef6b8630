"""What a person sees in a terminal; programs read JSON instead."""
