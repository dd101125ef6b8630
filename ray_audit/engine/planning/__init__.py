"""What is to do, and on which pools: frozen data, proved to fit before anything starts."""
