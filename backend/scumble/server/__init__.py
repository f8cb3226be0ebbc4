"""The backend process: sessions, durable jobs, worker processes."""
