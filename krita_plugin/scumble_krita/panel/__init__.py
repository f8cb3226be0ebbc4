"""The docker's pieces. They know widgets and words, but neither Krita's documents nor the client."""
