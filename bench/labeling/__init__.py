"""What bench/annotation.py is made of."""
