"""Django's PostgreSQL backend with what many short requests on kept connections need."""
