"""What goes wrong under load, provoked from outside: real callers, real models, real processes that stop and die."""
