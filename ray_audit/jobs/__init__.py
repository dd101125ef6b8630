"""What runs elsewhere: jobs of a Ray cluster."""
