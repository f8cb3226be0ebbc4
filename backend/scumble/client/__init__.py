"""The client's side, shared by Krita, GIMP and the command line. Standard library and `websockets` only, Python 3.9 and
later; no pixel loops."""
