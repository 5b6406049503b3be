"""Read-only questions about a model: costs, liveness, memory plans, latency estimates."""
