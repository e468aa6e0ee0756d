"""HTTP: JSON interface and the bench in the browser."""
