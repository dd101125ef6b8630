"""Pages, figures and exports for people who look and decide."""
