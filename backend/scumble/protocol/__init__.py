"""What plug-ins and backend say to each other. Standard library only, Python 3.9 and later."""
