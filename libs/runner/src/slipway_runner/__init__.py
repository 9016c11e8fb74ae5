"""The program in a session pod."""
